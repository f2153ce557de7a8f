// Losses of several tensors in one launch: assigns blocks to tensors, and computes the loss from the sums of blocks.
#pragma once

#include "losses.h"
#include "reduce.cuh"

namespace fastgan::cuda {

// The blocks of up to kMost tensors.
template <int kMost>
struct BlocksOf {
  int count;
  int64_t blocks[kMost + 1];  // each tensor's first block; last, the number of blocks

  void add_blocks(int64_t of_tensor) {
    blocks[count + 1] = blocks[count] + of_tensor;
    ++count;
  }
  int64_t all_blocks() const { return blocks[count]; }
};

template <int kMost>
struct PartsOf : BlocksOf<kMost> {
  int64_t sizes[kMost];   // number of terms
  double weights[kMost];  // factor of each term

  void add(int64_t size, double weight, int64_t span) {
    sizes[this->count] = size;
    weights[this->count] = weight;
    this->add_blocks(ceil_div(size, span));
  }
};
using Parts = PartsOf<kMostTensors>;

// The tensor that a block belongs to, by binary search: the last one with first block <= block.
template <int kMost>
__device__ int part_of(const BlocksOf<kMost>& parts, int64_t block) {
  int at = 0, end = parts.count;
  while (end - at > 1) {
    const int middle = (at + end) / 2;
    (parts.blocks[middle] <= block ? at : end) = middle;
  }
  return at;
}

// N sums for each tensor, as `pieces` partial sums.
template <int N, class A, int kMost = kMostTensors>
struct PartSums {
  static constexpr int kWarps = kThreads / 32;
  A at[kMost > kWarps ? kMost : kWarps][N];

  __device__ A of(int part, int i, int pieces) const {
    A sum = 0;
    for (int piece = 0; piece < pieces; ++piece) sum += at[part * pieces + piece][i];
    return sum;
  }
};

// Adds up partials [N, blocks], the sums of blocks, for each tensor. If tensors are few, several warps share a tensor.
// Returns the number of pieces per tensor. The order depends only on sizes. Called by the whole block; sums are shared.
template <int N, class A, int kMost>
__device__ int add_up_parts(const PartsOf<kMost>& parts, const A* partials, int64_t blocks,
                            PartSums<N, A, kMost>& sums) {
  constexpr int kWarps = PartSums<N, A, kMost>::kWarps;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int pieces = parts.count < kWarps ? kWarps / parts.count : 1;
#pragma unroll 1
  for (int row = warp; row < parts.count * pieces; row += kWarps) {
    const int64_t end = parts.blocks[row / pieces + 1];
    A sum[N] = {};
#pragma unroll 4
    for (int64_t at = parts.blocks[row / pieces] + row % pieces * 32 + lane; at < end; at += pieces * 32)
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += __ldcg(partials + i * blocks + at);
    for (int step = 16; step > 0; step /= 2)
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], step);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (lane == 0) sums.at[row][i] = sum[i];
  }
  __syncthreads();
  return pieces;
}

// Computes total and details (see csrc/cpu/losses.h) from each tensor's sums: of terms and, for details, of D's outputs
// and of saturated logits. Called by one thread.
template <int N, class A, int kMost>
__device__ void write_loss(const PartsOf<kMost>& parts, const PartSums<N, A, kMost>& sums, int pieces, Result total,
                           A* details) {
  double all = 0, saturated = 0, elements = 0;
#pragma unroll 1
  for (int part = 0; part < parts.count; ++part) {
    const double share = parts.weights[part] * static_cast<double>(sums.of(part, 0, pieces));
    all += share;
    if constexpr (N > 1) {
      if (details == nullptr) continue;
      const double size = static_cast<double>(parts.sizes[part]);
      details[part] = static_cast<A>(share);
      details[parts.count + part] = static_cast<A>(static_cast<double>(sums.of(part, 1, pieces)) / size);
      saturated += static_cast<double>(sums.of(part, 2, pieces));
      elements += size;
    }
  }
  store_element(total.at, total.dtype, all);
  if (N > 1 && details != nullptr) details[2 * parts.count] = static_cast<A>(saturated / elements);
}

}  // namespace fastgan::cuda
