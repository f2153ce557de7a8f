// The losses on logits, on a GPU: as csrc/cpu/losses.h, over device memory and on a stream.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kMostTensors = 32;  // of a call, which becomes one launch: its arguments hold what is known of each

// Where several blocks share a call: room for their sums, kWorkspaceBytes, and a counter that is zero between calls; of
// one stream.
struct Workspace {
  void* partials;  // null: one block does everything, and no tensor is larger than kTileBytes
  unsigned* counters;
};
constexpr int64_t kTileBytes = 8 * 16 * kThreads;  // eight vectors a thread
constexpr int64_t kMostBlocks = 2 * kMaxRanges;    // and one more for each tensor
constexpr int64_t kWorkspaceBytes = 3 * (kMostBlocks + kMostTensors) * sizeof(double);

// The weighted sum of all terms into `total` and, where the tensors have outputs, their gradients times the scale.
// `details`, unless null, has 2 count + 1 elements of the compute type: each tensor's share in the total, the mean of
// D's output for each, and the share of saturated logits among all.
cudaError_t loss_forward(const LossCall& call, Workspace workspace, Result total, void* details);
cudaError_t loss_terms(const LossCall& call);
// Gradients times the scale and each tensor's incoming ones: all tensors have some, or none. Where the outputs hold the
// gradients for a scale of 1 already (`are_for_one`), and 1 it is, which the kernel finds, nothing else is read or
// written.
cudaError_t loss_backward(const LossCall& call, bool are_for_one);

}  // namespace fastgan::cuda
