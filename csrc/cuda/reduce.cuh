// Sums over a block and over blocks. The last block to finish adds up the sums of blocks, in order.
#pragma once

#include "platform.h"

namespace fastgan {

// Sums each value over the block. The first warp holds the results. All threads of the block must call it.
template <int N, class A>
__device__ void block_sums(A (&values)[N]) {
  __shared__ A of_warp[N][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int step = 16; step > 0; step /= 2)
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += __shfl_xor_sync(0xffffffffu, values[i], step);
  __syncthreads();  // of_warp may still be read for earlier sums
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (lane == 0) of_warp[i][warp] = values[i];
  __syncthreads();
  if (warp != 0) return;
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = lane < kThreads / 32 ? of_warp[i][lane] : A(0);
  for (int step = 16; step > 0; step /= 2)
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += __shfl_xor_sync(0xffffffffu, values[i], step);
}

template <class A>
__device__ A block_sum(A value) {
  A values[] = {value};
  block_sums(values);
  return values[0];
}

// The same, with the result in all threads.
template <class A>
__device__ A block_sum_for_all(A value) {
  __shared__ A total;
  value = block_sum(value);  // whose barriers keep total until all have read an earlier one
  if (threadIdx.x == 0) total = value;
  __syncthreads();
  return total;
}

// Counts this block; true in the last of `count` blocks, which then sees the earlier stores of all the others. The
// counter wraps to zero.
//
// One thread's fences are enough, as fences are cumulative. The first barrier orders the block's stores before thread
// 0's fence, and the fence orders them before its atomicInc. In the last block, the second fence follows the increments
// of all blocks, and the second barrier orders it before every thread's loads.
__device__ inline bool is_last_of(unsigned count, unsigned* counter) {
  if (count == 1) {
    __syncthreads();
    return true;
  }
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicInc(counter, count - 1) == count - 1;
    __threadfence();
  }
  __syncthreads();
  const bool result = is_last;
  __syncthreads();  // a later call overwrites is_last
  return result;
}

// Loads 16 bytes that another block may have stored. Bypasses L1, which is not coherent.
template <class A>
__device__ Vector<A, kVector<A>> load_stored(const A* from) {
#if defined(__CUDA_ARCH__)
  const uint4 word = __ldcg(reinterpret_cast<const uint4*>(from));
  Vector<A, kVector<A>> result;
  memcpy(&result, &word, sizeof result);
  return result;
#else
  return *reinterpret_cast<const Vector<A, kVector<A>>*>(from);
#endif
}

// Sums `count` values in an order that depends only on count. The first warp holds the result.
template <class A>
__device__ A sum_in_order(const A* values, int64_t count) {
  A sums[1] = {0};
  for (int64_t at = threadIdx.x; at < count; at += kThreads) sums[0] += __ldcg(values + at);
  block_sums(sums);
  return sums[0];
}

}  // namespace fastgan
