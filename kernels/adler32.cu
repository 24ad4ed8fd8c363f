// Adler-32 (RFC 1950) of many byte ranges, but for the last remainder.
//
// NumPy:  for r, (start, size) in enumerate(table.T):
//             x = source[start : start + size].astype(np.uint64)
//             sums[r] = 1 + x.sum(), size + (x * np.arange(size, 0, -1)).sum()  # up to multiples of 65,521
// Moves:  every byte once in; 16 bytes a range out.
//
// `table` has the columns offset, size. `sums` is u64[rows][2] and must be zero before; the checksum is the second
// modulo 65,521, then the first, 16 bits each. Work items: rows * span, where `span` is at least the segments of the
// longest range. A segment's own sums, remainders by then, are moved past the bytes behind it and added.
#include "kernel.h"

static const u64 ADLER_SEGMENT = 1024, ADLER = 65521;

extern "C" __global__ void adler32_rows(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source,
    u64 source_bytes, u64* __restrict__ sums) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, begin = item % span * ADLER_SEGMENT;
        if (row >= rows) return;
        u64 start = cell(table, 0, row), size = cell(table, 1, row);
        if (!inside(start, size, source_bytes) || size > span * ADLER_SEGMENT || size >> 47) {
            if (begin == 0) atomicAdd(refused, 1u);
            continue;
        }
        if (begin >= size && begin > 0) continue;
        u64 taken = size - begin < ADLER_SEGMENT ? size - begin : ADLER_SEGMENT, behind = size - begin - taken;
        const u8* from = source + start + begin;
        u32 low = begin == 0, high = 0;  // at most 255 * 1024 + 1, and 1024 times that: 28 bits
        u64 i = 0;
        for (; i < taken && !aligned(from + i, 8); ++i) high += low += from[i];
        for (; i + 8 <= taken; i += 8) {
            u64 word = *(const u64*)(from + i);
            UNROLL
            for (int k = 0; k < 8; ++k, word >>= 8) high += low += (u32)(word & 255);
        }
        for (; i < taken; ++i) high += low += from[i];
        atomicAdd(&sums[2 * row], (u64)low % ADLER);
        atomicAdd(&sums[2 * row + 1], (high + low % ADLER * (behind % ADLER)) % ADLER);
    }
}
