// Undo numcodecs' Delta: running sums along every chunk of a wave.
//
// NumPy:  np.cumsum(encoded.astype(decoded.dtype), axis=1, out=decoded), one chunk a row
// Moves:  integers: every byte twice in, once out, in three launches (the sum of each segment; where each segment
//         starts; the running sums). Floats: once in, once out; they are summed one after the other, a thread for each
//         chunk, since another order would round otherwise.
//
// Chunk r has `count` numbers at source + r * count * their size, likewise in the destination; all lie aligned. A type
// is its size in bytes, plus 16 where it has a sign. Sums wrap, so 64 bits serve every type. `sums` is
// u64[rows][segments], segments of `segment` numbers. Work items: rows * segments; rows for `delta_starts` and
// `delta_floats`.
#include "kernel.h"

__device__ inline u64 number_at(const u8* base, u64 index, u32 type) {
    switch (type) {
        case 1: return base[index];
        case 2: return ((const u16*)base)[index];
        case 4: return ((const u32*)base)[index];
        case 17: return (u64)(i64)((const i8*)base)[index];
        case 18: return (u64)(i64)((const i16*)base)[index];
        case 20: return (u64)(i64)((const i32*)base)[index];
    }
    return ((const u64*)base)[index];
}

__device__ inline void put_number(u8* base, u64 index, u32 size, u64 value) {
    switch (size) {
        case 1: base[index] = (u8)value; return;
        case 2: ((u16*)base)[index] = (u16)value; return;
        case 4: ((u32*)base)[index] = (u32)value; return;
    }
    ((u64*)base)[index] = value;
}

__device__ inline bool is_type(u32 type) {
    u32 size = type & 15;
    return type < 32 && (size == 1 || size == 2 || size == 4 || size == 8);
}

extern "C" __global__ void delta_sums(
    u64 items, u32* refused, u64 count, u64 segment, u64 segments, const u8* __restrict__ source, u64 source_bytes,
    u32 source_type, u64* __restrict__ sums) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / segments, begin = item % segments * segment;
        u64 end = begin + segment < count ? begin + segment : count, size = source_type & 15, sum = 0;
        if (!is_type(source_type) || !inside(row * count * size, count * size, source_bytes)) {
            atomicAdd(refused, 1u);
            continue;
        }
        for (u64 i = begin; i < end; ++i) sum += number_at(source + row * count * size, i, source_type);
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
    u32 source_type, const u64* __restrict__ sums, u8* __restrict__ dest, u64 dest_bytes, u32 dest_type) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / segments, begin = item % segments * segment;
        u64 end = begin + segment < count ? begin + segment : count, sum = sums[item];
        u64 in = source_type & 15, out = dest_type & 15;
        if (!is_type(source_type) || !is_type(dest_type) || !inside(row * count * in, count * in, source_bytes) ||
            !inside(row * count * out, count * out, dest_bytes)) {
            atomicAdd(refused, 1u);
            continue;
        }
        for (u64 i = begin; i < end; ++i) {
            sum += number_at(source + row * count * in, i, source_type);
            put_number(dest + row * count * out, i, (u32)out, sum);
        }
    }
}

template <typename F>
__device__ inline void running(const F* __restrict__ source, F* __restrict__ dest, u64 count) {
    F sum = count ? source[0] : 0;  // not 0 + source[0], which would make 0.0 of -0.0
    for (u64 i = 0; i < count; ++i) {
        if (i) sum = sum + source[i];
        dest[i] = sum;
    }
}

// `width` is 4 or 8.
extern "C" __global__ void delta_floats(
    u64 items, u32* refused, u64 count, u32 width, const u8* __restrict__ source, u64 source_bytes,
    u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 row = first_item(); row < items; row += item_step()) {
        u64 at = row * count * width, size = count * width;
        if ((width != 4 && width != 8) || !inside(at, size, source_bytes) || !inside(at, size, dest_bytes)) {
            atomicAdd(refused, 1u);
        } else if (width == 4) {
            running((const float*)(source + at), (float*)(dest + at), count);
        } else {
            running((const double*)(source + at), (double*)(dest + at), count);
        }
    }
}
