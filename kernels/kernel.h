// What every kernel starts from; CUDA (nvcc, NVRTC) and any host compiler take it. No kernel includes anything but
// this and `numbers.h`, which builds on it.
//
// Conventions. Every kernel's first two parameters are filled in by `launch`: `items`, the number of work items, and
// `refused`, a counter in device memory. Work items are walked by a grid-stride loop, so a kernel is right for any
// grid. No kernel uses shared memory or waits for another thread. A table is columns, each with one entry a row, which
// `cell` reads. Offsets are bytes from the start of an area whose length is a parameter too: what does not lie in its
// area is not touched, and is counted in `refused` instead, which `GpuLane.settle` turns into an error.
#pragma once

#if defined(__CUDACC__)
#define UNROLL _Pragma("unroll")
#define KEEP_LOOP _Pragma("unroll 1")
#else
#include "host.h"
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;

struct alignas(16) u128 {
    u64 low, high;
};

// The head of a column (`gpuzarr/devices/columns.py`): entries of `width` bytes (0, 1, 2, 4 or 8; 0 for none) begin
// `data` bytes behind the head. Heads of a table's columns lie one behind another.
struct Column {
    u64 base, step;
    u32 width, shift;
    u64 data;
};

// The entry of a column in a row, modulo 2^64.
__device__ inline u64 cell(const Column* __restrict__ table, u64 column, u64 row) {
    const Column* head = table + column;
    const u8* data = (const u8*)head + head->data;
    u64 entry = 0;
    switch (head->width) {
        case 1: entry = data[row]; break;
        case 2: entry = ((const u16*)data)[row]; break;
        case 4: entry = ((const u32*)data)[row]; break;
        case 8: entry = ((const u64*)data)[row]; break;
    }
    return head->base + ((head->step * row + entry) << head->shift);
}

__device__ inline u64 first_item() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline u64 item_step() { return (u64)gridDim.x * blockDim.x; }

// Whether [offset, offset + size) lies in an area of `limit` bytes.
__device__ inline bool inside(u64 offset, u64 size, u64 limit) { return size <= limit && offset <= limit - size; }

// The bytes of each number of 2, 4 or 8 bytes in a word, turned round; numbers of one byte stay as they are.
__device__ inline u64 turned(u64 x, u32 width) {
    if (width == 1) return x;
    x = (x >> 8 & 0x00FF00FF00FF00FFull) | (x & 0x00FF00FF00FF00FFull) << 8;
    if (width == 2) return x;
    x = (x >> 16 & 0x0000FFFF0000FFFFull) | (x & 0x0000FFFF0000FFFFull) << 16;
    return width == 4 ? x : x >> 32 | x << 32;
}

__device__ inline bool aligned(const void* address, u64 unit) { return ((u64)address & (unit - 1)) == 0; }
