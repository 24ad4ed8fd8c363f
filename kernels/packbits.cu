// Undo `packbits` and numcodecs' PackBits: numbers of some bits each, packed without gaps, as numbers of whole bytes.
//
// NumPy:  bits = np.unpackbits(x[head:], count=count * width, bitorder=order).reshape(count, width).astype(np.uint64)
//         decoded = (bits << np.arange(first, first + width)).sum(axis=1), with the sign's bit repeated above
// Moves:  every byte once in, once out.
//
// Row r is `head` bytes, then the bits of `count` numbers; the byte at `padding_at`, where that lies in the row's
// `nbytes` bytes, must be `padding`, or the chunk is spoilt. `backwards`: a byte's first bit is its highest one.
// `spoilt` is u32[rows]. Work items: rows * span. `width` is 1 to 64, `first + width` at most 64.
#include "numbers.h"

__device__ inline u64 bits_at(const u8* from, u64 place, u32 width, bool backwards) {
    u64 value = 0;
    for (u32 taken = 0; taken < width;) {
        u32 shift = (u32)(place & 7), here = 8 - shift < width - taken ? 8 - shift : width - taken;
        u32 byte = from[place >> 3];
        if (backwards) here = 1;
        u32 piece = backwards ? byte >> (7 - shift) & 1 : byte >> shift & ((1u << here) - 1);
        value |= (u64)piece << taken;
        taken += here;
        place += here;
    }
    return value;
}

extern "C" __global__ void unpack_rows(
    u64 items, u32* refused, u64 span, u64 rows, u64 count, const u8* __restrict__ source, u64 source_bytes,
    u64 source_stride, u64 nbytes, u64 head, u64 padding_at, u32 padding, u32 width, u32 first, u32 backwards,
    u8* __restrict__ dest, u64 dest_bytes, u64 dest_stride, u32 dest_type, u32* __restrict__ spoilt) {
    bool known = is_type(dest_type) && width > 0 && width <= 64 && first <= 64 - width && head <= nbytes;
    known = known && count <= (~(u64)0 >> 7) && (count * width + 7) / 8 <= nbytes - head;
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span;
        if (row >= rows) return;
        if (!known || !holds(source, source_bytes, row, source_stride, nbytes, 1) ||
            !holds(dest, dest_bytes, row, dest_stride, count, dest_type)) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        const u8* from = source + row * source_stride;
        if (part == 0 && padding_at < nbytes && from[padding_at] != padding) spoilt[row] = 1;
        for (u64 i = part; i < count; i += span) {
            u64 value = bits_at(from + head, i * width, width, backwards != 0) << first;
            u32 last = first + width - 1;
            if (dest_type & SIGNED && value >> last & 1) value |= ~(u64)0 << last;
            store_bits(dest + row * dest_stride, i, dest_type, value);
        }
    }
}
