// The losses on logits, on a GPU: as csrc/cpu/losses.h, over device memory and on a stream.
#pragma once

#include "../logit_losses.h"
#include "platform.h"

namespace fastgan::cuda {

struct LossTensor {
  const void* logits;
  int64_t size;
  double label;
  const void* incoming;  // gradient of each term, for loss_terms_backward
  void* output;          // terms or gradients, `size` elements, or null
};

struct LossCall {
  Loss loss;
  DType dtype;
  LossTensor tensors[2];  // an absent second one has size 0
  int count;
  double sign;
  bool mean;
  cudaStream_t stream;
};

// Where a tensor is larger than kTileBytes: sums of blocks, kWorkspaceBytes of them, and a counter that is zero between
// calls; of one stream.
struct Workspace {
  void* partials;
  unsigned* counters;
};
constexpr int64_t kTileBytes = 8 * 16 * kThreads;  // eight vectors a thread
constexpr int64_t kWorkspaceBytes = 3 * 2 * kMaxRanges * sizeof(double);

// Loss, statistics (or null) and, where the tensors have outputs, `scale` (null: 1) times the gradients.
cudaError_t loss_forward(const LossCall& call, Workspace workspace, const void* scale, DType scale_dtype, void* loss,
                         DType loss_dtype, float* stats);
// Gradients of the sum or mean, times the scalar `scale` (null: 1). Where they are there already for a scale of 1
// (`are_for_one`), and that is what the scale is, which the kernel finds, nothing else is read or written.
cudaError_t loss_backward(const LossCall& call, const void* scale, DType scale_dtype, bool are_for_one);
// Terms of the first tensor, and their gradients times its incoming ones.
cudaError_t loss_terms(const LossCall& call);
cudaError_t loss_terms_backward(const LossCall& call);

}  // namespace fastgan::cuda
