// CUDA as far as the kernels of csrc/cuda use it, on the host: a thread of the system for each CUDA thread, a
// barrier for __syncthreads, an exchange between barriers for a shuffle, atomics for atomics.
//
// It shows what a kernel computes, that it stays inside its arrays (AddressSanitizer) and that a block's threads
// wait for each other where they must (ThreadSanitizer). It does not show races between blocks, which run in turn,
// nor anything of speed, alignment in memory or the device's memory model.
#pragma once

#include <pthread.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __forceinline__
#define __shared__ static  // one block runs at a time
#define __launch_bounds__(...)

struct Dim3 {
  unsigned x = 1;
};
inline thread_local Dim3 threadIdx, blockIdx;
inline Dim3 gridDim;

using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
struct cudaFuncAttributes {};
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
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*)()) { return cudaSuccess; }

namespace fastgan {

constexpr int kThreads = 64;
constexpr int kMaxRanges = 4;

namespace on_host {

class Barrier {
 public:
  explicit Barrier(unsigned threads) { pthread_barrier_init(&barrier_, nullptr, threads); }
  void wait() { pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

// kThreads threads that live as long as the process and run one block after another. Whoever launches waits.
class Block {
 public:
  static Block& get() {
    static Block* block = new Block;  // never destroyed: its threads run to the end
    return *block;
  }

  void run(unsigned blocks, const std::function<void()>& kernel) {
    pthread_mutex_lock(&one_launch_);
    kernel_ = &kernel;
    gridDim.x = blocks;
    for (index_ = 0; index_ < blocks; ++index_) {
      start_.wait();
      end_.wait();
    }
    pthread_mutex_unlock(&one_launch_);
  }

  Barrier threads{kThreads};
  Barrier warps[kThreads / 32] = {Barrier(32), Barrier(32)};
  alignas(16) unsigned char exchanged[kThreads][16];

 private:
  Block() {
    for (unsigned thread = 0; thread < kThreads; ++thread)
      std::thread([this, thread] {
        threadIdx.x = thread;
        while (true) {
          start_.wait();
          blockIdx.x = index_;
          (*kernel_)();
          end_.wait();
        }
      }).detach();
  }

  Barrier start_{kThreads + 1}, end_{kThreads + 1};
  pthread_mutex_t one_launch_ = PTHREAD_MUTEX_INITIALIZER;
  const std::function<void()>* kernel_ = nullptr;
  unsigned index_ = 0;
};

}  // namespace on_host
}  // namespace fastgan

inline void __syncthreads() { fastgan::on_host::Block::get().threads.wait(); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <class A>
A __shfl_xor_sync(unsigned, A value, int mask) {
  auto& block = fastgan::on_host::Block::get();
  auto& warp = block.warps[threadIdx.x / 32];
  *reinterpret_cast<A*>(block.exchanged[threadIdx.x]) = value;
  warp.wait();
  const A result = *reinterpret_cast<A*>(block.exchanged[threadIdx.x ^ static_cast<unsigned>(mask)]);
  warp.wait();
  return result;
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
#define FASTGAN_LAUNCH(kernel, blocks, stream, ...) \
  fastgan::on_host::Block::get().run(static_cast<unsigned>(blocks), [=] { FASTGAN_STRIP kernel(__VA_ARGS__); })
