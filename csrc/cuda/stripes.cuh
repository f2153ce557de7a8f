// Matrices in stripes of columns: a thread has a few columns, and every so many rows.
#pragma once

#include "reduce.cuh"

namespace fastgan::cuda {

// Calls work(count, aligned, at) for a thread's places, two at a time if all addresses are aligned. `work` must load
// both before the first store: the compiler cannot move loads above stores, as the arrays might overlap.
template <class Work>
__device__ void in_pairs(int64_t at, int64_t stop, int64_t step, bool aligned, const Work& work) {
  using One = std::integral_constant<int, 1>;
  if (aligned) {
    for (; at + step < stop; at += 2 * step) work(std::integral_constant<int, 2>{}, std::true_type{}, at);
    if (at < stop) work(One{}, std::true_type{}, at);
  } else {
#pragma unroll 1
    for (; at < stop; at += step) work(One{}, std::false_type{}, at);
  }
}

// Sums each column over the threads of a block that share it. All of them hold the results.
template <class A, int V>
__device__ void add_down(A (&sums)[V], int across) {
  __shared__ A of_thread[kThreads * V];
  __syncthreads();  // of_thread may still be read for earlier sums
#pragma unroll
  for (int i = 0; i < V; ++i) of_thread[i * kThreads + threadIdx.x] = sums[i];
  for (int distance = kThreads / 2; distance >= across; distance /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < distance) {
#pragma unroll
      for (int i = 0; i < V; ++i)
        of_thread[i * kThreads + threadIdx.x] += of_thread[i * kThreads + threadIdx.x + distance];
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < V; ++i) sums[i] = of_thread[i * kThreads + static_cast<int>(threadIdx.x) % across];
}

}  // namespace fastgan::cuda
