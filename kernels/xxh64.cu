// XXH64 with seed 0 of many byte ranges: the checksum that zstd frames may carry (RFC 8878, section 3.1.1).
//
// NumPy:  for r, (start, size) in enumerate(table.T): sums[r] = xxh64(source[start : start + size])
// Moves:  every byte once in; 8 bytes a range out.
//
// `table` has the columns offset, size. Work items: rows. Each word of the checksum hangs on the one before, so a range
// is one thread's; its four accumulators keep the multiplier busy.
#include "kernel.h"

static const u64 PRIME1 = 0x9E3779B185EBCA87ull, PRIME2 = 0xC2B2AE3D27D4EB4Full, PRIME3 = 0x165667B19E3779F9ull,
                 PRIME4 = 0x85EBCA77C2B2AE63ull, PRIME5 = 0x27D4EB2F165667C5ull;

__device__ inline u64 rotated(u64 x, int by) { return x << by | x >> (64 - by); }

// The little-endian number of `width` bytes at any address.
__device__ inline u64 word_at(const u8* from, u32 width) {
    if (width == 8 && aligned(from, 8)) return *(const u64*)from;
    u64 word = 0;
    for (u32 i = 0; i < width; ++i) word |= (u64)from[i] << (8 * i);
    return word;
}

__device__ inline u64 mixed(u64 sum, u64 word) { return rotated(sum + word * PRIME2, 31) * PRIME1; }

__device__ inline u64 xxh64(const u8* from, u64 size) {
    const u8* end = from + size;
    u64 sum = PRIME5;
    if (size >= 32) {
        u64 lanes[4] = {PRIME1 + PRIME2, PRIME2, 0, 0 - PRIME1};
        for (; end - from >= 32; from += 32) {
            UNROLL
            for (int k = 0; k < 4; ++k) lanes[k] = mixed(lanes[k], word_at(from + 8 * k, 8));
        }
        sum = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) + rotated(lanes[3], 18);
        for (int k = 0; k < 4; ++k) sum = (sum ^ mixed(0, lanes[k])) * PRIME1 + PRIME4;
    }
    sum += size;
    for (; end - from >= 8; from += 8) sum = rotated(sum ^ mixed(0, word_at(from, 8)), 27) * PRIME1 + PRIME4;
    for (; end - from >= 4; from += 4) sum = rotated(sum ^ word_at(from, 4) * PRIME1, 23) * PRIME2 + PRIME3;
    for (; from < end; ++from) sum = rotated(sum ^ *from * PRIME5, 11) * PRIME1;
    sum = (sum ^ sum >> 33) * PRIME2;
    sum = (sum ^ sum >> 29) * PRIME3;
    return sum ^ sum >> 32;
}

extern "C" __global__ void xxh64_rows(
    u64 items, u32* refused, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source, u64 source_bytes,
    u64* __restrict__ sums) {
    for (u64 row = first_item(); row < items; row += item_step()) {
        if (row >= rows) return;
        u64 start = cell(table, 0, row), size = cell(table, 1, row);
        if (inside(start, size, source_bytes)) {
            sums[row] = xxh64(source + start, size);
        } else {
            atomicAdd(refused, 1u);
        }
    }
}
