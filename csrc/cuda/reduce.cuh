// Sums over a block, and over blocks: the block that arrives last finishes, in the order of blocks.
#pragma once

#include "platform.h"

namespace fastgan {

// The sum of every thread's value, in all threads of the first warp. Every thread of the block must come here.
template <class A>
__device__ A block_sum(A value) {
  __shared__ A of_warp[32];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();  // of_warp may still be read for an earlier sum
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < kThreads / 32 ? of_warp[lane] : A(0);
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  return value;
}

// Counts this block in; true in the last of `count`, which then sees what the others stored before. The counter
// goes back to zero by itself.
__device__ inline bool is_last_of(unsigned count, unsigned* counter) {
  __shared__ bool is_last;
  __threadfence();  // each thread's stores before the count
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicInc(counter, count - 1) == count - 1;
  __syncthreads();
  if (is_last) __threadfence();
  const bool result = is_last;
  __syncthreads();  // before is_last is used again
  return result;
}

// The sum of values[0], ..., values[count - 1], in an order that depends on count alone; in the first warp.
template <class A>
__device__ A sum_in_order(const A* values, int64_t count) {
  A sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += __ldcg(values + i);
  return block_sum(sum);
}

}  // namespace fastgan
