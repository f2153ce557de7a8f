// CUDA as far as the kernels of csrc/cuda use it, on the host: a block's threads one after another, each from barrier
// to barrier (block.h).
//
// It shows what a kernel computes, that it stays inside its arrays (AddressSanitizer), that a block's threads wait
// for each other where they must (ThreadSanitizer) and that none waits in vain. It does not show races
// between blocks, which run in turn, nor anything of speed, alignment in memory or the device's memory model.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__
#define __noinline__
#define __shared__ static  // one block runs at a time
#define __launch_bounds__(...)
#define __grid_constant__

struct Dim3 {
  unsigned x = 1;
};
inline Dim3 gridDim;

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaMallocManaged(void** pointer, size_t bytes) {
  *pointer = malloc(bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
  free(pointer);
  return cudaSuccess;
}
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 16384;  // small arrays fit, and larger ones of the tests do not
  return cudaSuccess;
}
struct cudaFuncAttributes {};
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*)()) { return cudaSuccess; }
template <class T>
cudaError_t cudaGetSymbolAddress(void** pointer, T& symbol) {
  *pointer = &symbol;
  return cudaSuccess;
}

#include "graphs_on_host.h"

namespace fastgan {

constexpr int kThreads = 64;
constexpr int kMaxRanges = 4;

namespace on_host {

// What each thread shows the others of its warp, in two places by turns: while some still read one, others may fill
// the next one. Nobody fills a place again before all have read it, as all have shown the next one in between.
alignas(16) inline unsigned char exchanged[2][kThreads][16];
inline unsigned exchanges[kThreads];

// The dynamic shared memory of the block that runs: an allocation of its size, for AddressSanitizer.
inline unsigned char* dynamic_shared = nullptr;

// A line of a kernel, at which its threads wait.
struct Place {
  const char* file;
  int line;
  static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator!=(const Place& other) const {
    return line != other.line || (file != other.file && strcmp(file, other.file) != 0);
  }
};

}  // namespace on_host
}  // namespace fastgan

#include "block.h"

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline void __syncthreads(fastgan::on_host::Place place = fastgan::on_host::Place::here()) {
  fastgan::on_host::Block::get().wait_for_block(place);
}

template <class A>
A __shfl_xor_sync(unsigned, A value, int mask, fastgan::on_host::Place place = fastgan::on_host::Place::here()) {
  using namespace fastgan::on_host;
  auto& shown = exchanged[exchanges[threadIdx.x]++ % 2];
  *reinterpret_cast<A*>(shown[threadIdx.x]) = value;
  Block::get().wait_for_warp(place);
  return *reinterpret_cast<A*>(shown[threadIdx.x ^ static_cast<unsigned>(mask)]);
}

template <class A>
A __ldcg(const A* from) {
  return *from;
}

inline unsigned atomicInc(unsigned* counter, unsigned most) {
  unsigned before = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(counter, &before, before >= most ? 0 : before + 1, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST)) {
  }
  return before;
}

#define FASTGAN_STRIP(...) __VA_ARGS__
#define FASTGAN_LAUNCH(kernel, blocks, where, ...) FASTGAN_LAUNCH_WITH_SHARED(kernel, blocks, 0, where, __VA_ARGS__)
#define FASTGAN_LAUNCH_WITH_SHARED(kernel, blocks, bytes, where, ...)                     \
  fastgan::on_host::Block::get().run(static_cast<unsigned>(blocks), static_cast<size_t>(bytes), \
                                     [=] { FASTGAN_STRIP kernel(__VA_ARGS__); })
#define FASTGAN_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(fastgan::on_host::dynamic_shared)
