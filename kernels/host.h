// CUDA's words for a host compiler, so that a machine without a GPU runs the very same kernels. A launch is one call a
// thread of the grid, one after the other; with a grid of one thread, one call walks all items.
#pragma once

#define __global__
#define __device__
#define __host__
#define __restrict__ __restrict
#define UNROLL
#define KEEP_LOOP

struct Place {
    unsigned int x;
};

static thread_local Place blockIdx, threadIdx, blockDim = {1}, gridDim = {1};

// Which thread of which grid the next call of a kernel is.
extern "C" inline __attribute__((used)) void gpuzarr_place(
    unsigned int block, unsigned int thread, unsigned int blocks, unsigned int threads) {
    blockIdx.x = block;
    threadIdx.x = thread;
    gridDim.x = blocks;
    blockDim.x = threads;
}

template <typename T>
inline T atomicAdd(T* address, T value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }

template <typename T>
inline T atomicXor(T* address, T value) { return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED); }
