// Undo Blosc's byte shuffle or bit shuffle, all blocks of a wave in one launch; numcodecs' Shuffle is the same job
// with a chunk for a block.
//
// NumPy:  for s, d, n, t, f in table.T:
//             e, x, y = n // t, source[s : s + n], dest[d : d + n]
//             if f == 1: y[: e * t] = x[: e * t].reshape(t, e).T.ravel(); y[e * t :] = x[e * t :]
//             elif f == 2 and e % 8 == 0 and e:
//                 bits = np.unpackbits(x[: e * t].reshape(t * 8, e // 8), axis=1, bitorder="little")
//                 y[: e * t] = np.packbits(bits.T, axis=1, bitorder="little").ravel(); y[e * t :] = x[e * t :]
//             else: y[:] = x
// Moves:  every byte once in, once out; 16-byte stores where the destination is aligned and t is 1, 2, 4, 8 or 16.
//
// `table` has the columns source offset, destination offset, size, typesize, filter (0 none, 1 shuffle, 2 bitshuffle).
// Work items: rows * span; `span` threads share a row.
#include "kernel.h"

// 16 bytes of unshuffled output: ELEMENTS elements of 16 / ELEMENTS bytes, the first of them element `first`.
template <int ELEMENTS>
__device__ inline u128 gather16(const u8* __restrict__ source, u64 count, u64 first) {
    const int typesize = 16 / ELEMENTS;
    u64 half[2] = {0, 0};
    UNROLL
    for (int plane = 0; plane < typesize; ++plane) {
        const u8* from = source + plane * count + first;
        UNROLL
        for (int element = 0; element < ELEMENTS; ++element) {
            int to = element * typesize + plane;
            half[to >> 3] |= (u64)from[element] << ((to & 7) * 8);
        }
    }
    return u128{half[0], half[1]};
}

template <int ELEMENTS>
__device__ inline void unshuffle16(
    const u8* __restrict__ source, u8* __restrict__ dest, u64 count, u64 part, u64 parts) {
    const u64 typesize = 16 / ELEMENTS, units = count / ELEMENTS;
    for (u64 unit = part; unit < units; unit += parts)
        *(u128*)(dest + unit * 16) = gather16<ELEMENTS>(source, count, unit * ELEMENTS);
    for (u64 element = units * ELEMENTS + part; element < count; element += parts)
        for (u64 plane = 0; plane < typesize; ++plane)
            dest[element * typesize + plane] = source[plane * count + element];
}

__device__ inline void unshuffle(
    const u8* __restrict__ source, u8* __restrict__ dest, u64 count, u64 typesize, u64 part, u64 parts) {
    if (aligned(dest, 16)) {
        if (typesize == 4) return unshuffle16<4>(source, dest, count, part, parts);
        if (typesize == 2) return unshuffle16<8>(source, dest, count, part, parts);
        if (typesize == 8) return unshuffle16<2>(source, dest, count, part, parts);
        if (typesize == 16) return unshuffle16<1>(source, dest, count, part, parts);
    }
    for (u64 element = part; element < count; element += parts)
        for (u64 plane = 0; plane < typesize; ++plane)
            dest[element * typesize + plane] = source[plane * count + element];
}

// Transpose the 8 x 8 bits of a word: bit e of byte k becomes bit k of byte e.
__device__ inline u64 transpose8(u64 x) {
    u64 t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
    x = x ^ t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
    x = x ^ t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ (t << 28);
}

// One thread takes eight elements: a byte of every bit plane in, 8 * typesize neighbouring bytes out.
__device__ inline void bitunshuffle(
    const u8* __restrict__ source, u8* __restrict__ dest, u64 count, u64 typesize, u64 part, u64 parts) {
    u64 groups = count / 8;  // bytes in a bit plane
    for (u64 group = part; group < groups; group += parts) {
        u8* to = dest + group * 8 * typesize;
        for (u64 byte = 0; byte < typesize; ++byte) {
            u64 bits = 0;
            for (u64 plane = 0; plane < 8; ++plane)
                bits |= (u64)source[(byte * 8 + plane) * groups + group] << (8 * plane);
            bits = transpose8(bits);
            if (typesize == 1 && aligned(to, 8)) {
                *(u64*)to = bits;
                continue;
            }
            for (u64 element = 0; element < 8; ++element) to[element * typesize + byte] = (u8)(bits >> (8 * element));
        }
    }
}

// Bytes [start, size) as they are.
__device__ inline void keep(
    const u8* __restrict__ source, u8* __restrict__ dest, u64 start, u64 size, u64 part, u64 parts) {
    u64 units = start == 0 && aligned(source, 16) && aligned(dest, 16) ? size / 16 : 0;
    for (u64 unit = part; unit < units; unit += parts) ((u128*)dest)[unit] = ((const u128*)source)[unit];
    for (u64 i = start + units * 16 + part; i < size; i += parts) dest[i] = source[i];
}

extern "C" __global__ void unfilter(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows,
    const u8* __restrict__ source, u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span;
        if (row >= rows) return;
        u64 from = cell(table, 0, row), to = cell(table, 1, row), size = cell(table, 2, row);
        u64 typesize = cell(table, 3, row), filter = cell(table, 4, row);
        if (!inside(from, size, source_bytes) || !inside(to, size, dest_bytes) || typesize == 0 || filter > 2) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        u64 count = size / typesize, filtered = count * typesize;
        if (filter == 1 && typesize > 1) {
            unshuffle(source + from, dest + to, count, typesize, part, span);
        } else if (filter == 2 && count % 8 == 0) {
            bitunshuffle(source + from, dest + to, count, typesize, part, span);
        } else {
            filtered = 0;
        }
        keep(source + from, dest + to, filtered, size, part, span);
    }
}
