// Place the decoded chunks of a wave in the destination; filling what is missing is the same with steps of zero
// through one fill value.
//
// NumPy:  scatter_parts:  for each row, index in np.ndindex(counts[row]):
//             s = source_offset[row] + sum(index * source_steps); d = dest_offset[row] + sum(index * dest_steps)
//             dest[d : d + unit] = source[s : s + unit]
//         (where lists[axis, row] is not -1, that axis adds its listed offsets instead of index * step)
//         scatter_points: dest[dests[:, None] + np.arange(size)] = source[sources[:, None] + np.arange(size)]
// Moves:  every placed byte once in, once out, `unit` bytes at a time; plus (2 + axes) * 8 bytes a part.
//
// `table` is i64[2 + axes][rows], or i64[2 + 2 * axes][rows] where `listed`: source offset, destination offset, the
// part's length along each axis, and where its list starts along each axis. `steps` is i64[2][axes]: bytes from one
// element to the next, in the source and in the destination. `lists` is i64[2][list_length]: offsets in bytes, likewise.
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

extern "C" __global__ void scatter_parts(
    u64 items, u32* refused, u64 span, const i64* __restrict__ table, u64 rows, u32 axes, u32 unit,
    const i64* __restrict__ steps, u32 listed, const i64* __restrict__ lists, u64 list_length,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span, size = 1;
        if (row >= rows) return;
        bool sane = true;
        for (u32 axis = 0; axis < axes && sane; ++axis) {
            i64 count = table[(2 + axis) * rows + row];
            sane = count >= 0 && (u64)count <= dest_bytes && (size *= (u64)count) <= dest_bytes;
        }
        if (!sane) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        for (u64 element = part; element < size; element += span) {
            i64 from = table[row], to = table[rows + row];
            u64 rest = element;
            bool known = true;
            for (u32 axis = axes; axis-- > 0;) {
                u64 count = (u64)table[(2 + axis) * rows + row], index;
                if ((rest | count) >> 32) {
                    index = rest % count;
                    rest /= count;
                } else {  // division by 32 bits is several times quicker
                    index = (u32)rest % (u32)count;
                    rest = (u32)rest / (u32)count;
                }
                i64 list = listed ? table[(2 + axes + axis) * rows + row] : -1;
                if (list < 0) {
                    from += (i64)index * steps[axis];
                    to += (i64)index * steps[axes + axis];
                } else if ((u64)list + index < list_length) {
                    from += lists[(u64)list + index];
                    to += lists[list_length + (u64)list + index];
                } else {
                    known = false;
                }
            }
            // A negative offset is a huge unsigned one, so one comparison sees both ends.
            known = known && inside((u64)from, unit, source_bytes) && inside((u64)to, unit, dest_bytes);
            if (!known || !move(dest + to, source + from, unit)) atomicAdd(refused, 1u);
        }
    }
}

// Points: `pieces` neighbouring units each, from and to these byte offsets. Work items: points * pieces.
extern "C" __global__ void scatter_points(
    u64 items, u32* refused, u64 points, u64 pieces, u32 unit, const i64* __restrict__ sources,
    const i64* __restrict__ dests, const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest,
    u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 point = item / pieces, piece = item % pieces * unit;
        if (point >= points) return;
        u64 from = (u64)sources[point] + piece, to = (u64)dests[point] + piece;
        bool known = inside(from, unit, source_bytes) && inside(to, unit, dest_bytes);
        if (!known || !move(dest + to, source + from, unit)) atomicAdd(refused, 1u);
    }
}
