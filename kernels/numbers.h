// Numbers of any type in memory, for the kernels that compute with them.
//
// A type is its size in bytes (1, 2, 4 or 8), plus 16 for integers with a sign, 32 for floats, 64 for booleans (one
// byte, 0 or 1), 128 for the other byte order. Chunks lie one stride apart and are aligned to their numbers.
//
// A GPU and a CPU agree on every sum, quotient and conversion but for NaNs: which bits come out of those depends on the
// machine. So quiet NaNs are carried over bit by bit, and where that does not settle it, the chunk is marked as spoilt:
// the host then decodes it.
//
// CuPy has NVRTC flush subnormal floats to zero (-ftz=true), which no option of ours undoes. That concerns `float` only,
// so all arithmetic is in `double`: a sum or a quotient of two smaller floats, rounded to a double and then to their
// size, is what their own arithmetic gives, since a double has more than twice their bits.
#pragma once
#include "kernel.h"

static const u32 SIGNED = 16, REAL = 32, BOOLEAN = 64, SWAPPED = 128;

__device__ inline bool is_type(u32 type) {
    u32 size = type & 15, kind = type & (SIGNED | REAL | BOOLEAN);
    if (type > 255 || (size != 1 && size != 2 && size != 4 && size != 8)) return false;
    if (kind == BOOLEAN) return size == 1;
    return kind == 0 || kind == SIGNED || (kind == REAL && size > 1);
}

// Whether `count` numbers of row `row` lie in an area and on addresses that are multiples of their size.
__device__ inline bool holds(const u8* area, u64 bytes, u64 row, u64 stride, u64 count, u32 type) {
    u64 size = type & 15;
    if (count > bytes / size || (row && stride > (bytes - count * size) / row)) return false;
    return aligned(area, size) && stride % size == 0;
}

__device__ inline u64 load_bits(const u8* row, u64 index, u32 type) {
    u64 bits = 0;
    switch (type & 15) {
        case 1: bits = row[index]; break;
        case 2: bits = ((const u16*)row)[index]; break;
        case 4: bits = ((const u32*)row)[index]; break;
        case 8: bits = ((const u64*)row)[index]; break;
    }
    return type & SWAPPED ? turned(bits, type & 15) : bits;
}

__device__ inline void store_bits(u8* row, u64 index, u32 type, u64 bits) {
    if (type & SWAPPED) bits = turned(bits, type & 15);
    switch (type & 15) {
        case 1: row[index] = (u8)bits; break;
        case 2: ((u16*)row)[index] = (u16)bits; break;
        case 4: ((u32*)row)[index] = (u32)bits; break;
        case 8: ((u64*)row)[index] = bits; break;
    }
}

// An integer of any width as one of 64 bits.
__device__ inline u64 extended(u64 bits, u32 type) {
    switch (type & (15 | SIGNED)) {
        case 1 | SIGNED: return (u64)(i64)(i8)bits;
        case 2 | SIGNED: return (u64)(i64)(i16)bits;
        case 4 | SIGNED: return (u64)(i64)(i32)bits;
    }
    return bits;
}

union Double {
    u64 bits;
    double value;
};

union Single {
    u32 bits;
    float value;
};

__device__ inline double as_double(u64 bits) {
    Double both;
    both.bits = bits;
    return both.value;
}

__device__ inline u64 bits_of(double value) {
    Double both;
    both.value = value;
    return both.bits;
}

__device__ inline u32 bits_of(float value) {
    Single both;
    both.value = value;
    return both.bits;
}

__device__ inline u32 mantissa_of(u32 size) { return size == 8 ? 52 : size == 4 ? 23 : 10; }

__device__ inline bool is_nan(double x) { return x != x; }

__device__ inline bool is_finite(double x) { return (bits_of(x) >> 52 & 0x7FF) != 0x7FF; }

// A signalling NaN, which some conversions quiet and some do not.
__device__ inline bool signals(u64 bits, u32 size) {
    u32 mantissa = mantissa_of(size);
    u64 fraction = bits & (((u64)1 << mantissa) - 1), exponent = bits << (65 - 8 * size) >> (65 - 8 * size) >> mantissa;
    return exponent == ((u64)1 << (8 * size - 1 - mantissa)) - 1 && fraction && !(fraction >> (mantissa - 1));
}

// A float of 2, 4 or 8 bytes as a double, exactly.
__device__ inline double widened(u64 bits, u32 size) {
    if (size == 8) return as_double(bits);
    u32 mantissa = mantissa_of(size);
    u64 sign = bits >> (8 * size - 1) << 63, fraction = bits & (((u64)1 << mantissa) - 1);
    u64 last = size == 4 ? 255 : 31, exponent = bits >> mantissa & last, bias = 1023 - last / 2;
    if (exponent == last) return as_double(sign | (u64)0x7FF << 52 | fraction << (52 - mantissa));
    if (exponent == 0) return as_double(sign | bits_of((double)fraction * as_double((bias + 1 - mantissa) << 52)));
    return as_double(sign | (exponent + bias) << 52 | fraction << (52 - mantissa));
}

// A double as a float of 2, 4 or 8 bytes: the nearest, or the even one of two.
__device__ inline u64 narrowed(double value, u32 size) {
    u64 bits = bits_of(value), magnitude = bits & ~((u64)1 << 63), sign = bits >> 63 << (8 * size - 1);
    if (size == 8) return bits;
    u32 mantissa = mantissa_of(size), lost = 52 - mantissa;
    u64 last = size == 4 ? 255 : 31, bias = 1023 - last / 2, infinite = last << mantissa;
    if (is_nan(value)) return sign | infinite | (magnitude >> lost & (((u64)1 << mantissa) - 1));
    if (magnitude < (bias + 1) << 52) {  // a multiple of the smallest, rounded where a double has no more fraction bits
        double whole = as_double(magnitude) * as_double((2045 - bias + mantissa) << 52) + 4503599627370496.0;
        return sign | (u64)(whole - 4503599627370496.0);
    }
    u64 nearest = (magnitude + (((u64)1 << (lost - 1)) - 1) + (magnitude >> lost & 1)) >> lost;
    nearest -= bias << mantissa;
    return sign | (nearest < infinite ? nearest : infinite);
}

// The nearest float of 2, 4 or 8 bytes, as a double.
__device__ inline double rounded(double value, u32 size) { return widened(narrowed(value, size), size); }
