// The discriminator's head on a GPU: as csrc/cpu/head.h, over device memory and on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

// Room for sums of blocks, in elements of the compute type, and for counters that are zero between calls.
struct HeadWorkspace {
  int64_t sums, counters;
};
HeadWorkspace head_workspace(const HeadCall& call);

// dw [width] and db [1], the gradients of weight and bias, may be null, and then nothing has slopes or gradients.
// `details` is as in losses.h.
cudaError_t head_loss(const HeadCall& call, Workspace workspace, Result total, void* details, Result dw, Result db);
// grad [rows, width] = scale * slopes * weight.
cudaError_t head_grad(const HeadCall& call);

}  // namespace fastgan::cuda
