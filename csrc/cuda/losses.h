// The losses on logits, as in csrc/cpu/losses.h, on a stream.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kMostTensors = 32;  // per launch, whose arguments hold each tensor's address, size, label and weight

// Memory for a call of several blocks: kWorkspaceBytes for their sums, and a counter that is zero between calls. For
// use by one stream only.
struct Workspace {
  void* partials;  // null: a single block is launched; no tensor is larger than kTileBytes
  unsigned* counters;
};
constexpr int64_t kTileBytes = 8 * 16 * kThreads;  // eight vectors per thread
constexpr int64_t kMostBlocks = 2 * kMaxRanges;    // plus at most one for each tensor
constexpr int64_t kWorkspaceBytes = 3 * (kMostBlocks + kMostTensors) * sizeof(double);

cudaError_t loss_forward(const LossCall& call, Workspace workspace, Result total, void* details);
cudaError_t loss_terms(const LossCall& call);
// Gradients times the scale and the upstream gradients, which all tensors have or none. are_for_one: the outputs
// already hold the gradients for a scale of 1. Then, if the kernel finds a scale of 1, it leaves them as they are.
cudaError_t loss_backward(const LossCall& call, bool are_for_one);

}  // namespace fastgan::cuda
