// Place the decoded chunks of a wave in the destination; filling what is missing is the same with steps of zero
// through one fill value.
//
// NumPy:  scatter_parts:  for each row, index in np.ndindex(counts[row]):
//             s = source_offset[row] + sum(index * source_steps); d = dest_offset[row] + sum(index * dest_steps)
//             dest[d : d + unit] = source[s : s + unit]
//         (where lists[axis, row] is not -1, that axis adds its listed offsets instead of index * step)
//         scatter_points: dest[dests[:, None] + np.arange(size)] = source[sources[:, None] + np.arange(size)]
// Moves:  every placed byte once in, once out, `unit` bytes at a time.
//
// `table` has the columns source offset, destination offset, the part's length along each axis, and where `listed`,
// where its list starts along each axis. `steps` is i64[2][axes]: bytes from one element to the next, in the source and
// in the destination. `lists` has the columns source offset, destination offset, `list_length` entries each.
// Work items: rows * span; `span` threads share a row. `unit` is 1, 2, 4, 8 or 16 and divides every offset and step.
#include "kernel.h"

__device__ inline bool move(u8* __restrict__ dest, const u8* __restrict__ source, u32 unit) {
    if (!aligned(source, unit) || !aligned(dest, unit)) return false;
    switch (unit) {
        case 16: *(u128*)dest = *(const u128*)source; return true;
        case 8: *(u64*)dest = *(const u64*)source; return true;
        case 4: *(u32*)dest = *(const u32*)source; return true;
        case 2: *(u16*)dest = *(const u16*)source; return true;
        case 1: *dest = *source; return true;
    }
    return false;
}

// `rest % count`, which is taken off: `rest` becomes `rest / count`.
__device__ inline u64 taken(u64& rest, u64 count) {
    u64 index;
    if ((rest | count) >> 32) {
        index = rest % count;
        rest /= count;
    } else {  // division by 32 bits is several times quicker
        index = (u32)rest % (u32)count;
        rest = (u32)rest / (u32)count;
    }
    return index;
}

extern "C" __global__ void scatter_parts(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, u32 axes, u32 unit,
    const i64* __restrict__ steps, u32 listed, const Column* __restrict__ lists, u64 list_length,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span, size = 1;
        if (row >= rows) return;
        bool sane = true;
        for (u32 axis = 0; axis < axes && sane; ++axis) {
            i64 count = (i64)cell(table, 2 + axis, row);
            sane = count >= 0 && (u64)count <= dest_bytes && (size *= (u64)count) <= dest_bytes;
        }
        if (!sane) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        u64 first_from = cell(table, 0, row), first_to = cell(table, 1, row);
        for (u64 element = part; element < size; element += span) {
            u64 from = first_from, to = first_to, rest = element;
            bool known = true;
            for (u32 axis = axes; axis-- > 0;) {
                u64 index = rest;  // along the first axis, what the others leave
                if (axis) index = taken(rest, cell(table, 2 + axis, row));
                i64 list = listed ? (i64)cell(table, 2 + axes + axis, row) : -1;
                if (list < 0) {
                    from += index * (u64)steps[axis];
                    to += index * (u64)steps[axes + axis];
                } else if ((u64)list + index < list_length) {
                    from += cell(lists, 0, (u64)list + index);
                    to += cell(lists, 1, (u64)list + index);
                } else {
                    known = false;
                }
            }
            // A negative offset is a huge unsigned one, so one comparison sees both ends.
            known = known && inside(from, unit, source_bytes) && inside(to, unit, dest_bytes);
            if (!known || !move(dest + to, source + from, unit)) atomicAdd(refused, 1u);
        }
    }
}

// Points: `pieces` neighbouring units each; `table` has the columns source offset, destination offset. Work
// items: points * pieces.
extern "C" __global__ void scatter_points(
    u64 items, u32* refused, u64 points, u64 pieces, u32 unit, const Column* __restrict__ table,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 point = item / pieces, piece = item % pieces * unit;
        if (point >= points) return;
        u64 from = cell(table, 0, point) + piece, to = cell(table, 1, point) + piece;
        bool known = inside(from, unit, source_bytes) && inside(to, unit, dest_bytes);
        if (!known || !move(dest + to, source + from, unit)) atomicAdd(refused, 1u);
    }
}
