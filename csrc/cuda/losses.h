// The losses on logits, on a GPU: as csrc/cpu/losses.h, over device memory and on a stream.
#pragma once

#include "../logit_losses.h"
#include "platform.h"

namespace fastgan::cuda {

struct LossTensor {
  const void* logits;
  int64_t size;
  double label;
  const void* incoming;  // gradient of each term, or null
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

// Sums of blocks, kWorkspaceBytes of it, and a counter that is zero between calls; of one stream.
struct Workspace {
  void* partials;
  unsigned* counters;
};
constexpr int64_t kWorkspaceBytes = 3 * 2 * kMaxRanges * sizeof(double);

// Loss, statistics (or null) and, where the tensors have outputs, `scale` (null: 1) times the gradients.
cudaError_t loss_forward(const LossCall& call, Workspace workspace, const void* scale, DType scale_dtype, void* loss,
                         DType loss_dtype, float* stats);
cudaError_t loss_terms(const LossCall& call);
// Gradients: times the scalar `scale` (null: 1), and times each tensor's own incoming terms.
cudaError_t loss_backward(const LossCall& call, const void* scale, DType scale_dtype);

}  // namespace fastgan::cuda
