// Turn the bytes of every number round; in place where source and destination are the same.
//
// NumPy:  dest[:] = source.view(f"u{width}").byteswap().view(np.uint8)
// Moves:  every byte once in, once out; 16 bytes at a time where both are aligned.
//
// `width` is 2, 4 or 8; complex numbers are two numbers. Work items: one for 16 bytes. Bytes behind the last whole
// number stay as they are.
#include "kernel.h"

extern "C" __global__ void byteswap(u64 items, u32* refused, u64 nbytes, u32 width, const u8* source, u8* dest) {
    bool wide = aligned(source, 16) && aligned(dest, 16);
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 at = item * 16;
        if (width != 2 && width != 4 && width != 8) {
            atomicAdd(refused, 1u);
        } else if (wide && inside(at, 16, nbytes)) {
            u128 x = *(const u128*)(source + at);
            *(u128*)(dest + at) = u128{turned(x.low, width), turned(x.high, width)};
        } else {
            for (u64 end = at + 16; at < end && at < nbytes; at += width) {
                u8 number[8];
                bool whole = inside(at, width, nbytes);
                u64 size = whole ? width : nbytes - at;
                for (u64 i = 0; i < size; ++i) number[i] = source[at + i];
                for (u64 i = 0; i < size; ++i) dest[at + i] = number[whole ? size - 1 - i : i];
            }
        }
    }
}
