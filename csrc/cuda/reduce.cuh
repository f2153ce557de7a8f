// Sums over a block, and over blocks: the block that arrives last finishes, in the order of blocks.
#pragma once

#include "platform.h"

namespace fastgan {

// Each value becomes the sum of every thread's, in the first warp. Every thread of the block must come here.
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

// Counts this block in; true in the last of `count`, which then sees what the others stored before. The counter
// goes back to zero by itself.
//
// One thread's fences are enough, as fences are cumulative: the first barrier puts the block's stores before the
// counting thread's fence, the fence puts them before its count; in the last block the second fence follows the counts
// of all the others, and the second barrier puts it before every thread's loads.
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
  __syncthreads();  // before is_last is used again
  return result;
}

// 16 bytes of what other blocks have stored, past the first cache, which may not know of it.
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

// The sums of N arrays of `count` values that lie `apart`, in an order that depends on count alone; in the first warp.
template <int N, class A>
__device__ void sums_in_order(const A* values, int64_t apart, int64_t count, A (&sums)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) sums[i] = 0;
  for (int64_t at = threadIdx.x; at < count; at += kThreads)
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += __ldcg(values + i * apart + at);
  block_sums(sums);
}

template <class A>
__device__ A sum_in_order(const A* values, int64_t count) {
  A sums[1];
  sums_in_order(values, 0, count, sums);
  return sums[0];
}

}  // namespace fastgan
