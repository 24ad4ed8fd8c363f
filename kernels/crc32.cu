// CRC-32C (RFC 3720) and CRC-32 (RFC 1952) of many byte ranges.
//
// NumPy:  for r, (start, size) in enumerate(table.T): sums[r] = crc(source[start : start + size])
// Moves:  every byte once in; 4 bytes a range out.
//
// `table` has the columns offset, size. `sums` is u32[rows] and must be zero before. Work items: rows * span, where
// `span` is at least the segments of the longest range; a range is cut into segments of SEGMENT bytes, and as the
// checksum is linear, each segment's own is moved past the bytes behind it (a product of polynomials modulo the CRC's)
// and added.
#include "kernel.h"

static const u64 SEGMENT = 1024;

// Polynomials have x^0 at bit 31.
__host__ __device__ constexpr u32 times_x(u32 a, u32 polynomial) { return a & 1 ? a >> 1 ^ polynomial : a >> 1; }

__host__ __device__ constexpr u32 product(u32 a, u32 b, u32 polynomial) {
    u32 sum = 0;
    for (u32 bit = 0x80000000u; bit; bit >>= 1, b = times_x(b, polynomial))
        if (a & bit) sum ^= b;
    return sum;
}

struct Tables {
    u32 polynomial;
    u32 bytes[8][256];  // [k][b]: byte b, moved past k bytes of zero
    u32 powers[48];     // [k]: x to the 8 * 2^k, which moves past 2^k bytes
};

__host__ __device__ constexpr Tables make_tables(u32 polynomial) {
    Tables made{};
    made.polynomial = polynomial;
    for (u32 b = 0; b < 256; ++b) {
        u32 value = b;
        for (int bit = 0; bit < 8; ++bit) value = times_x(value, polynomial);
        made.bytes[0][b] = value;
    }
    for (int k = 1; k < 8; ++k)
        for (u32 b = 0; b < 256; ++b) {
            u32 before = made.bytes[k - 1][b];
            made.bytes[k][b] = before >> 8 ^ made.bytes[0][before & 255];
        }
    made.powers[0] = 0x80000000u >> 8;
    for (int k = 1; k < 48; ++k) made.powers[k] = product(made.powers[k - 1], made.powers[k - 1], polynomial);
    return made;
}

static __device__ constexpr Tables CASTAGNOLI = make_tables(0x82F63B78u);
static __device__ constexpr Tables ETHERNET = make_tables(0xEDB88320u);

__device__ inline u32 over(u32 crc, const u8* from, u64 size, const Tables& tables) {
    for (; size && !aligned(from, 8); --size) crc = crc >> 8 ^ tables.bytes[0][(crc ^ *from++) & 255];
    for (; size >= 8; size -= 8, from += 8) {
        u64 word = *(const u64*)from ^ crc;
        crc = 0;
        for (int k = 0; k < 8; ++k) crc ^= tables.bytes[7 - k][word >> (8 * k) & 255];
    }
    for (; size; --size) crc = crc >> 8 ^ tables.bytes[0][(crc ^ *from++) & 255];
    return crc;
}

__device__ inline void crc_rows(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source,
    u64 source_bytes, u32* __restrict__ sums, const Tables& tables) {
    for (u64 item = first_item(); item < items; item += item_step()) {
        u64 row = item / span, begin = item % span * SEGMENT;
        if (row >= rows) return;
        u64 start = cell(table, 0, row), size = cell(table, 1, row);
        if (!inside(start, size, source_bytes) || size > span * SEGMENT || size >> 47) {
            if (begin == 0) atomicAdd(refused, 1u);
            continue;
        }
        if (begin >= size && begin > 0) continue;
        u64 taken = size - begin < SEGMENT ? size - begin : SEGMENT, behind = size - begin - taken;
        u32 crc = over(begin == 0 ? 0xFFFFFFFFu : 0u, source + start + begin, taken, tables);
        for (int k = 0; behind; behind >>= 1, ++k)
            if (behind & 1) crc = product(crc, tables.powers[k], tables.polynomial);
        atomicXor(&sums[row], begin == 0 ? ~crc : crc);
    }
}

extern "C" __global__ void crc32c_rows(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source,
    u64 source_bytes, u32* __restrict__ sums) {
    crc_rows(items, refused, span, table, rows, source, source_bytes, sums, CASTAGNOLI);
}

extern "C" __global__ void crc32_rows(
    u64 items, u32* refused, u64 span, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source,
    u64 source_bytes, u32* __restrict__ sums) {
    crc_rows(items, refused, span, table, rows, source, source_bytes, sums, ETHERNET);
}
