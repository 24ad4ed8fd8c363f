// Every number of every chunk as another type, its scale and offset undone: numcodecs' AsType, Quantize and
// FixedScaleOffset, `scale_offset`, `cast_value`.
//
// NumPy:  decoded = (encoded / scale + offset).astype(type), or encoded.astype(type); for integers encoded // scale
// Moves:  every byte once in, once out.
//
// `arithmetic` says in which type scale and offset are undone: 0 in none (there are none), 1 in 64-bit integers with the
// sign of the source, 2, 4 or 8 in floats of that size. `scale` and `offset` are the bits of a 64-bit integer or of a
// double that the smaller float has, too. `rule` 0 converts as NumPy does; 1 wants the value in the new type's range, and
// an integer to become one; 2 wants it unchanged. `map` is u64[2][pairs]: values that become others whatever the rest
// says, the first one that matches: an integer or the bits of a double, and the bits of the number that it becomes.
// What a rule does not let pass, and what NumPy leaves to the machine (a float beyond the integer's range, a signalling
// NaN), becomes 0 and spoils the chunk. `spoilt` is u32[rows]. Types are those of `numbers.h`. Work items: rows * span.
#include "numbers.h"

struct Number {
    u64 integer;  // of a source that is no float
    double real;  // of one that is, or of what arithmetic made
    bool is_real, sound;
};

__device__ inline Number number_at(const u8* row, u64 index, u32 type) {
    u64 bits = load_bits(row, index, type);
    if (type & REAL) return Number{0, widened(bits, type & 15), true, !signals(bits, type & 15)};
    return Number{extended(bits, type), 0, false, !(type & BOOLEAN) || bits < 2};
}

__device__ inline double as_real(Number x, u32 type) {
    return x.is_real ? x.real : type & SIGNED ? (double)(i64)x.integer : (double)x.integer;
}

// x / scale + offset in integers; not sound where it does not divide or does not fit.
__device__ inline Number unscaled(Number x, u32 type, u64 scale, u64 offset) {
    u64 quotient = x.integer;
    if (type & SIGNED) {
        i64 value = (i64)x.integer, by = (i64)scale;
        if (by == -1) {
            x.sound = x.sound && x.integer != (u64)1 << 63;
            quotient = 0 - x.integer;
        } else {
            x.sound = x.sound && value % by == 0;
            quotient = (u64)(value / by);
        }
        x.integer = quotient + offset;
        x.sound = x.sound && !(((quotient ^ x.integer) & (offset ^ x.integer)) >> 63);
    } else {
        x.sound = x.sound && x.integer % scale == 0;
        x.integer = x.integer / scale + offset;
        x.sound = x.sound && x.integer >= offset;
    }
    return x;
}

// x / scale + offset in floats of a size; NaN stays the NaN that it is.
__device__ inline double unscaled(double x, double scale, double offset, u32 size) {
    return is_nan(x) ? x : rounded(rounded(x / scale, size) + offset, size);
}

__device__ inline u64 highest(u32 type) { return ~(u64)0 >> (64 - 8 * (type & 15) + (type & SIGNED ? 1 : 0)); }

// The bits of an integer type for a number; `sound` where the rule lets it pass.
__device__ inline u64 to_integer(Number x, u32 from, u32 to, u32 rule, bool& sound) {
    u64 high = highest(to);
    if (!x.is_real) {
        bool negative = from & SIGNED && x.integer >> 63;
        bool fits = negative ? to & SIGNED && ~x.integer <= high : x.integer <= high;
        sound = sound && (rule == 0 || fits);
        return x.integer;
    }
    double above = (double)(high / 2 + 1) * 2, below = to & SIGNED ? -above - 1 : -1;
    if (!(x.real > below && x.real < above)) {
        sound = false;
        return 0;
    }
    u64 whole = x.real < 0 ? (u64)(i64)x.real : (u64)x.real;
    double back = x.real < 0 ? (double)(i64)whole : (double)whole;
    sound = sound && (rule == 0 || back == x.real);
    return whole;
}

__device__ inline u64 to_real(Number x, u32 from, u32 to, u32 rule, bool& sound) {
    u32 size = to & 15;
    if (x.is_real) {
        u64 bits = narrowed(x.real, size);
        double back = widened(bits, size);
        sound = sound && (rule == 0 || !is_finite(x.real) || is_finite(back));
        sound = sound && (rule < 2 || is_nan(x.real) || back == x.real);
        return bits;
    }
    bool negative = from & SIGNED && x.integer >> 63;
    u64 magnitude = negative ? 0 - x.integer : x.integer, lowest = magnitude & (0 - magnitude);
    u32 digits = mantissa_of(size) + 1;
    bool exact = lowest >> (64 - digits) || magnitude < lowest << digits || !magnitude;
    u64 bits = size == 4 ? bits_of(negative ? (float)(i64)x.integer : (float)x.integer)
                         : narrowed(negative ? (double)(i64)x.integer : (double)x.integer, size);
    sound = sound && (rule == 0 || is_finite(widened(bits, size))) && (rule < 2 || exact);
    return bits;
}

__device__ inline u64 converted(Number x, u32 from, u32 to, u32 rule, bool& sound) {
    if (to & BOOLEAN) return x.is_real ? x.real != 0 : x.integer != 0;
    return to & REAL ? to_real(x, from, to, rule, sound) : to_integer(x, from, to, rule, sound);
}

// Which pair of the map a number matches; `pairs` for none.
__device__ inline u64 matching(Number x, const u64* __restrict__ map, u64 pairs) {
    for (u64 i = 0; i < pairs; ++i) {
        double key = as_double(map[i]);
        if (x.is_real ? x.real == key || (is_nan(x.real) && is_nan(key)) : x.integer == map[i]) return i;
    }
    return pairs;
}

extern "C" __global__ void convert_rows(
    u64 items, u32* refused, u64 span, u64 rows, u64 count, const u8* __restrict__ source, u64 source_bytes,
    u64 source_stride, u32 source_type, u32 arithmetic, u64 scale, u64 offset, u32 rule, const u64* __restrict__ map,
    u64 pairs, u8* __restrict__ dest, u64 dest_bytes, u64 dest_stride, u32 dest_type, u32* __restrict__ spoilt) {
    bool known = is_type(source_type) && is_type(dest_type) && rule < 3;
    known = known && (arithmetic < 3 || arithmetic == 4 || arithmetic == 8);
    known = known && (arithmetic != 1 || (!(source_type & REAL) && scale != 0));
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, part = item % span;
        if (row >= rows) return;
        if (!known || !holds(source, source_bytes, row, source_stride, count, source_type) ||
            !holds(dest, dest_bytes, row, dest_stride, count, dest_type)) {
            if (part == 0) atomicAdd(refused, 1u);
            continue;
        }
        const u8* from = source + row * source_stride;
        u8* to = dest + row * dest_stride;
        for (u64 i = part; i < count; i += span) {
            Number x = number_at(from, i, source_type);
            u64 match = matching(x, map, pairs), bits;
            bool sound = x.sound;
            if (match < pairs) {
                bits = map[pairs + match];
            } else {
                if (arithmetic == 1) {
                    x = unscaled(x, source_type, scale, offset);
                } else if (arithmetic) {
                    double real = as_real(x, source_type);
                    x = Number{0, unscaled(real, as_double(scale), as_double(offset), arithmetic), true, x.sound};
                }
                sound = x.sound;
                bits = converted(x, source_type, dest_type, rule, sound);
            }
            store_bits(to, i, dest_type, sound ? bits : 0);
            if (!sound) spoilt[row] = 1;
        }
    }
}
