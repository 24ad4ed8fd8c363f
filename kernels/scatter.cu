// Place the decoded chunks of a wave in the destination; filling what is missing is the same with steps of zero
// through one fill value. Chunks whose bytes a shuffle has moved, or whose numbers are the other way round, are put in
// order on the way (`scatter_filtered`), which saves writing them and reading them again.
//
// NumPy:  scatter_parts:  for each row, index in np.ndindex(counts[row]):
//             s = source_offset[row] + sum(index * source_steps); d = dest_offset[row] + sum(index * dest_steps)
//             dest[d : d + unit] = source[s : s + unit]
//         (where lists[axis, row] is not -1, that axis adds its listed offsets instead of index * step)
//         scatter_filtered:  the same, out of chunks in order: for s, b, t, f, w in layouts.T, first
//             x = source[s : s + chunk]; for o in range(0, chunk, b): x[o : o + b] = unfiltered(x[o : o + b], t, f)
//             x[:] = x.view(f"u{w}").byteswap().view(np.uint8)
//         where unfiltered(x, t, f) with e = len(x) // t and h = x[: e * t] is h, or
//             if f == 1: h.reshape(t, e).T.ravel()
//             if f == 2 and e % 8 == 0: bits = np.unpackbits(h.reshape(t * 8, e // 8), axis=1, bitorder="little")
//                                       np.packbits(bits.T, axis=1, bitorder="little").ravel()
//         and behind it x[e * t :]
//         scatter_points: dest[dests[:, None] + np.arange(size)] = source[sources[:, None] + np.arange(size)]
// Moves:  every placed byte once in, once out, `unit` bytes at a time.
//
// `table` has the columns source offset, destination offset, the part's length along each axis, and where `listed`,
// where its list starts along each axis. `steps` is i64[2][axes]: bytes from one element to the next, in the source and
// in the destination. `lists` has the columns source offset, destination offset, `list_length` entries each.
// `layouts` has a row for each of `table`, and the columns chunk offset, bytes of a block (the last may be shorter),
// typesize, filter (0 none, 1 shuffle, 2 bit shuffle), width of the numbers to turn round (1 for none). Source offsets
// are then of the chunk in order, which takes the same `chunk` bytes: Blosc's blocks with what they leave over, stored
// chunks (filter 0), and numcodecs' Shuffle (a chunk for a block).
// Work items: rows * span; `span` threads share a row. `unit` is 1, 2, 4, 8 or 16 and divides every offset and step.
#include "kernel.h"

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

__device__ inline bool store(u8* __restrict__ dest, u128 value, u32 unit) {
    if (!aligned(dest, unit)) return false;
    switch (unit) {
        case 16: *(u128*)dest = value; return true;
        case 8: *(u64*)dest = value.low; return true;
        case 4: *(u32*)dest = (u32)value.low; return true;
        case 2: *(u16*)dest = (u16)value.low; return true;
        case 1: *dest = (u8)value.low; return true;
    }
    return false;
}

// Byte `i` of what is to be stored.
__device__ inline void put(u128& value, u32 i, u8 byte) {
    if (i < 8) value.low |= (u64)byte << 8 * i;
    else value.high |= (u64)byte << 8 * (i - 8);
}

// Bytes that lie as they are placed.
__device__ inline u128 load(const u8* __restrict__ source, u32 unit) {
    u128 value = {0, 0};
    if (!aligned(source, unit)) {
        for (u32 i = 0; i < unit; ++i) put(value, i, source[i]);
        return value;
    }
    switch (unit) {
        case 16: return *(const u128*)source;
        case 8: value.low = *(const u64*)source; break;
        case 4: value.low = *(const u32*)source; break;
        case 2: value.low = *(const u16*)source; break;
        case 1: value.low = *source; break;
    }
    return value;
}

// Where the bytes of a part come from: `begin` is asked once a row, `take` for each unit; false for what lies outside.
struct Plain {
    const u8* source;
    u64 source_bytes;

    __device__ inline bool begin(u64) { return true; }

    __device__ inline bool take(u64 from, u32 unit, u128& value) const {
        if (!inside(from, unit, source_bytes) || !aligned(source + from, unit)) return false;
        value = load(source + from, unit);
        return true;
    }
};

// Transpose the 8 x 8 bits of a word: bit e of byte k becomes bit k of byte e.
__device__ inline u64 transpose8(u64 x) {
    u64 t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
    x = x ^ t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
    x = x ^ t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ (t << 28);
}

enum { SHUFFLE = 1, BITSHUFFLE = 2 };

// A block of a chunk: `size` bytes, of which the first `end` are `count` whole elements that a filter has taken apart,
// `count` bytes a plane, and eight planes of bits for one of bytes. What is behind them lies as it is placed.
struct Block {
    const u8* bytes;
    u64 size, end, count;
    bool bits;

    // Byte `plane` of an element.
    __device__ inline u8 one(u64 element, u64 plane) const {
        if (!bits) return bytes[plane * count + element];
        u32 byte = 0;
        for (u32 bit = 0; bit < 8; ++bit)
            byte |= (bytes[(plane * 8 + bit) * (count / 8) + element / 8] >> (element & 7) & 1u) << bit;
        return (u8)byte;
    }

    // That of SEVERAL elements, at most eight: bits only of those that share a byte of the bit planes.
    template <int SEVERAL>
    __device__ inline u64 some(u64 element, u64 plane) const {
        u64 word = 0;
        if (bits) {
            const u8* from = bytes + plane * count + element / 8;
            UNROLL
            for (int bit = 0; bit < 8; ++bit) word |= (u64)from[bit * (count / 8)] << 8 * bit;
            return transpose8(word) >> 8 * (element & 7);
        }
        const u8* from = bytes + plane * count + element;
        if (aligned(from, SEVERAL)) return load(from, SEVERAL).low;
        UNROLL
        for (int i = 0; i < SEVERAL; ++i) word |= (u64)from[i] << 8 * i;
        return word;
    }

    // 16 bytes in order: 16 / TYPESIZE elements. Of each plane a thread loads as many neighbouring bytes as it has
    // elements, in one load where they are aligned, as they are in blocks of a multiple of 16 elements: 4 bytes out of
    // each of 4 planes for float32, so that a warp reads 128 neighbouring bytes of every plane and writes 512. Larger
    // loads would have a thread hold several units, whose places in the destination need not be neighbours.
    template <int TYPESIZE>
    __device__ inline u128 sixteen(u64 first) const {
        const int elements = 16 / TYPESIZE, several = elements < 8 ? elements : 8;
        u64 half[2] = {0, 0};
        UNROLL
        for (int plane = 0; plane < TYPESIZE; ++plane) {
            UNROLL
            for (int group = 0; group < elements; group += several) {
                u64 word = some<several>(first + group, plane);
                UNROLL
                for (int i = 0; i < several; ++i) {
                    const int to = (group + i) * TYPESIZE + plane;
                    half[to >> 3] |= (word >> 8 * i & 0xFF) << 8 * (to & 7);
                }
            }
        }
        return u128{half[0], half[1]};
    }
};

// Bytes of chunks that are put in order as they are loaded.
struct Filtered {
    const Column* layouts;
    u64 chunk;
    const u8* source;
    u64 source_bytes;
    u64 start, block, typesize, filter, width;  // of the row
    u32 shift;                                  // typesize is 1 << shift; OTHER where it is not 1, 2, 4, 8 or 16
    enum { OTHER = 5 };

    __device__ inline bool begin(u64 row) {
        start = cell(layouts, 0, row), block = cell(layouts, 1, row), typesize = cell(layouts, 2, row);
        filter = cell(layouts, 3, row), width = cell(layouts, 4, row);
        for (shift = 0; shift < OTHER && typesize != 1ull << shift;) ++shift;
        bool known = width == 1 || width == 2 || width == 4 || width == 8;
        return known && chunk % width == 0 && block && typesize && filter <= BITSHUFFLE
            && inside(start, chunk, source_bytes);
    }

    __device__ inline bool take(u64 from, u32 unit, u128& value) const {
        u64 at = from - start, number = unit < width ? unit : width;  // `from` before the chunk is a huge `at`
        if (!inside(at, unit, chunk) || at & (number - 1)) return false;
        if (unit < width) at ^= width - unit;  // a piece of a number, of which the last comes first
        value = in_order(at, unit);
        value = u128{turned(value.low, (u32)number), turned(value.high, (u32)number)};
        return true;
    }

    // The elements before this byte.
    __device__ inline u64 elements(u64 bytes) const { return shift < OTHER ? bytes >> shift : bytes / typesize; }

    // The block with the byte at this offset of the chunk in order, which becomes its place there.
    __device__ inline Block block_of(u64& at) const {
        u64 number = at, place = taken(number, block), before = at - place, left = chunk - before;
        u64 size = left < block ? left : block, count = elements(size);
        bool filtered = filter == SHUFFLE || (filter == BITSHUFFLE && count % 8 == 0);
        at = place;
        return {source + start + before, size, filtered ? count * typesize : 0, count, filter == BITSHUFFLE};
    }

    __device__ inline u128 in_order(u64 at, u32 unit) const {
        u64 place = at;
        const Block here = block_of(place);
        if (place >= here.end && place + unit <= here.size) return load(here.bytes + place, unit);
        if (place + unit > here.end) return across(at, unit);
        u64 element = elements(place), plane = place - element * typesize;
        const u32 shared = shift > 1 ? (16u >> shift) - 1 : 7;  // elements must not begin within a byte of bit planes
        if (unit == 16 && plane == 0 && !(here.bits && element & shared)) {
            switch (shift) {
                case 0: return here.sixteen<1>(element);
                case 1: return here.sixteen<2>(element);
                case 2: return here.sixteen<4>(element);
                case 3: return here.sixteen<8>(element);
                case 4: return here.sixteen<16>(element);
            }
        }
        // Less than 16 bytes, as where rows of the destination do not begin on 16, or elements of odd sizes.
        u128 value = {0, 0};
        KEEP_LOOP
        for (u32 i = 0; i < unit; ++i) {
            put(value, i, here.one(element, plane));
            if (++plane == typesize) plane = 0, ++element;
        }
        return value;
    }

    // Bytes on both sides of the end of a block or of its elements, which is seldom.
    __device__ inline u128 across(u64 at, u32 unit) const {
        u128 value = {0, 0};
        KEEP_LOOP
        for (u32 i = 0; i < unit; ++i) {
            u64 place = at + i;
            const Block here = block_of(place);
            const u64 element = elements(place);
            const bool moved = place < here.end;
            put(value, i, moved ? here.one(element, place - element * typesize) : here.bytes[place]);
        }
        return value;
    }
};

// The parts, whose bytes come from a `Plain` or a `Filtered`.
template <class From>
__device__ inline void scatter(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, u32 axes, u32 unit,
    const i64* __restrict__ steps, u32 listed, const Column* __restrict__ lists, u64 list_length,
    From source, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span, size = 1;
        if (row >= rows) return;
        bool sane = true;
        for (u32 axis = 0; axis < axes && sane; ++axis) {
            i64 count = (i64)cell(table, 2 + axis, row);
            sane = count >= 0 && (u64)count <= dest_bytes && (size *= (u64)count) <= dest_bytes;
        }
        if (!sane || !source.begin(row)) {
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
            u128 value;
            known = known && inside(to, unit, dest_bytes) && source.take(from, unit, value);
            if (!known || !store(dest + to, value, unit)) atomicAdd(refused, 1u);
        }
    }
}

extern "C" __global__ void scatter_parts(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, u32 axes, u32 unit,
    const i64* __restrict__ steps, u32 listed, const Column* __restrict__ lists, u64 list_length,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    scatter(items, refused, span, table, rows, axes, unit, steps, listed, lists, list_length,
            Plain{source, source_bytes}, dest, dest_bytes);
}

extern "C" __global__ void scatter_filtered(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, u32 axes, u32 unit,
    const i64* __restrict__ steps, u32 listed, const Column* __restrict__ lists, u64 list_length,
    const Column* __restrict__ layouts, u64 chunk,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    scatter(items, refused, span, table, rows, axes, unit, steps, listed, lists, list_length,
            Filtered{layouts, chunk, source, source_bytes, 0, 0, 0, 0, 0, 0}, dest, dest_bytes);
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
        u128 value;
        bool known = inside(to, unit, dest_bytes) && Plain{source, source_bytes}.take(from, unit, value);
        if (!known || !store(dest + to, value, unit)) atomicAdd(refused, 1u);
    }
}
