// What nvCOMP takes, from the streams' table: addresses and sizes of each stream, and room for what becomes of it.
//
// NumPy:  s, n, d, c = columns; streams[:4] = source + s, n, c, dest + d; streams[4] = 0; statuses[:] = -1
// Moves:  44 bytes a stream out.
//
// `table` has the columns source offset, size, destination offset, capacity. `streams` is u64[5][rows] (source address,
// size, capacity, destination address, actual size) and behind that i32[rows], the statuses. A stream that lies outside
// is listed as one of no bytes, at the start of both areas. Work items: rows.
#include "kernel.h"

extern "C" __global__ void list_streams(
    u64 items, u32* refused, const Column* __restrict__ table, u64 rows, const u8* __restrict__ source,
    u64 source_bytes, u8* __restrict__ dest, u64 dest_bytes, u64* __restrict__ streams) {
    i32* statuses = (i32*)(streams + 5 * rows);
    for (u64 row = first_item(); row < items; row += item_step()) {
        if (row >= rows) return;
        u64 from = cell(table, 0, row), size = cell(table, 1, row), to = cell(table, 2, row);
        u64 capacity = cell(table, 3, row);
        if (!inside(from, size, source_bytes) || !inside(to, capacity, dest_bytes)) {
            atomicAdd(refused, 1u);
            from = size = to = capacity = 0;
        }
        streams[row] = (u64)source + from;
        streams[rows + row] = size;
        streams[2 * rows + row] = capacity;
        streams[3 * rows + row] = (u64)dest + to;
        streams[4 * rows + row] = 0;
        statuses[row] = -1;
    }
}
