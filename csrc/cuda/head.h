// The discriminator's head, as in csrc/cpu/head.h, on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

// Memory needed for the sums of blocks, in elements of the compute type, and for counters that are zero between calls.
struct HeadWorkspace {
  int64_t sums, counters;
};
HeadWorkspace head_workspace(const HeadCall& call);

// dw [width] and db [1]: gradients of weight and bias. If dw is null, so are db and all slopes and gradients.
// details: as in losses.h.
cudaError_t head_loss(const HeadCall& call, Workspace workspace, Result total, void* details, Result dw, Result db);
// grad [rows, width] = scale * slopes * weight.
cudaError_t head_grad(const HeadCall& call);

}  // namespace fastgan::cuda
