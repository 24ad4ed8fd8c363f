// Many copies in one launch: stored Blosc streams, memcpyed containers, streams that must lie aligned.
//
// NumPy:  for s, d, n in table.T: dest[d : d + n] = source[s : s + n]
// Moves:  every copied byte once in, once out; 16 bytes a store.
//
// `table` has the columns source offset, destination offset, size. Work items: rows * span; `span` threads share a row.
#include "kernel.h"

// 16 bytes from any address, by aligned loads only; [from - 8, from + 24) must be readable unless `from` is aligned.
__device__ inline u128 load_any(const u8* from) {
    u64 odd = (u64)from & 7;
    const u64* word = (const u64*)(from - odd);
    if (odd == 0) return u128{word[0], word[1]};
    u64 right = odd * 8, left = 64 - right;
    return u128{word[0] >> right | word[1] << left, word[1] >> right | word[2] << left};
}

// The part of a copy that is thread `part` of `parts`.
__device__ inline void copy_part(const u8* source, u8* dest, u64 size, u64 part, u64 parts) {
    u64 head = (16 - ((u64)dest & 15)) & 15;  // bytes before the first aligned 16 of the destination
    if (head > size) head = size;
    u64 units = (size - head) / 16;
    if (part < head) for (u64 i = part; i < head; i += parts) dest[i] = source[i];
    for (u64 unit = part; unit < units; unit += parts) {
        u64 at = head + unit * 16;
        const u8* from = source + at;
        bool safe = ((u64)from & 7) == 0 || (at >= 8 && at + 24 <= size);
        if (safe) {
            *(u128*)(dest + at) = load_any(from);
        } else {
            for (u64 i = 0; i < 16; ++i) dest[at + i] = from[i];
        }
    }
    for (u64 i = head + units * 16 + part; i < size; i += parts) dest[i] = source[i];
}

extern "C" __global__ void copy_rows(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span;
        if (row >= rows) return;
        u64 from = cell(table, 0, row), to = cell(table, 1, row), size = cell(table, 2, row);
        if (!inside(from, size, source_bytes) || !inside(to, size, dest_bytes)) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        copy_part(source + from, dest + to, size, part, span);
    }
}
