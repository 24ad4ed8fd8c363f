// Undo numcodecs' Delta: running sums along every chunk of a wave.
//
// NumPy:  np.cumsum(encoded.astype(decoded.dtype), axis=1, out=decoded), one chunk a row
// Moves:  integers: every byte twice in, once out, in three launches (the sum of each segment; where each segment
//         starts; the running sums). Floats: once in, once out; they are summed one after the other, a thread for each
//         chunk, since another order would round otherwise; a chunk whose sum becomes NaN is spoilt.
//
// Row r has `count` numbers at source + r * source_stride, likewise in the destination. Types are those of `numbers.h`.
// Sums wrap, so 64 bits serve every integer. `sums` is u64[rows][segments], segments of `segment` numbers; `spoilt` is
// u32[rows]. Work items: rows * segments; rows for `delta_starts` and `delta_floats`.
#include "numbers.h"

__device__ inline bool is_integer(u32 type) { return is_type(type) && !(type & (REAL | BOOLEAN)); }

extern "C" __global__ void delta_sums(
    u64 items, u32* refused, u64 count, u64 segment, u64 segments, const u8* __restrict__ source, u64 source_bytes,
    u64 source_stride, u32 source_type, u64* __restrict__ sums) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / segments, begin = item % segments * segment;
        u64 end = begin + segment < count ? begin + segment : count, sum = 0;
        if (!is_integer(source_type) || !holds(source, source_bytes, row, source_stride, count, source_type)) {
            atomicAdd(refused, 1u);
            continue;
        }
        const u8* from = source + row * source_stride;
        for (u64 i = begin; i < end; ++i) sum += extended(load_bits(from, i, source_type), source_type);
        sums[item] = sum;
    }
}

extern "C" __global__ void delta_starts(u64 items, u32* refused, u64 segments, u64* __restrict__ sums) {
    (void)refused;
    for (u64 row = first_item(); row < items; row += item_step()) {
        u64 sum = 0;
        for (u64 i = row * segments; i < (row + 1) * segments; ++i) {
            u64 own = sums[i];
            sums[i] = sum;
            sum += own;
        }
    }
}

extern "C" __global__ void delta_running(
    u64 items, u32* refused, u64 count, u64 segment, u64 segments, const u8* __restrict__ source, u64 source_bytes,
    u64 source_stride, u32 source_type, const u64* __restrict__ sums, u8* __restrict__ dest, u64 dest_bytes,
    u64 dest_stride, u32 dest_type) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / segments, begin = item % segments * segment;
        u64 end = begin + segment < count ? begin + segment : count, sum = sums[item];
        if (!is_integer(source_type) || !is_integer(dest_type) ||
            !holds(source, source_bytes, row, source_stride, count, source_type) ||
            !holds(dest, dest_bytes, row, dest_stride, count, dest_type)) {
            atomicAdd(refused, 1u);
            continue;
        }
        const u8* from = source + row * source_stride;
        u8* to = dest + row * dest_stride;
        for (u64 i = begin; i < end; ++i) {
            sum += extended(load_bits(from, i, source_type), source_type);
            store_bits(to, i, dest_type, sum);
        }
    }
}

extern "C" __global__ void delta_floats(
    u64 items, u32* refused, u64 count, u32 type, const u8* __restrict__ source, u64 source_bytes, u64 source_stride,
    u8* __restrict__ dest, u64 dest_bytes, u64 dest_stride, u32* __restrict__ spoilt) {
    for (u64 row = first_item(); row < items; row += item_step()) {
        if (!is_type(type) || !(type & REAL) || !holds(source, source_bytes, row, source_stride, count, type) ||
            !holds(dest, dest_bytes, row, dest_stride, count, type)) {
            atomicAdd(refused, 1u);
            continue;
        }
        u32 size = type & 15;
        double sum = 0;
        for (u64 i = 0; i < count && !is_nan(sum); ++i) {
            double number = widened(load_bits(source + row * source_stride, i, type), size);
            sum = i ? rounded(sum + number, size) : number;  // not 0 + number, which would make 0.0 of -0.0
            store_bits(dest + row * dest_stride, i, type, is_nan(sum) ? 0 : narrowed(sum, size));
        }
        if (is_nan(sum)) spoilt[row] = 1;
    }
}
