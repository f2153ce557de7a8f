// The L1 reconstruction loss on a GPU: as csrc/cpu/reconstruction.h, over device memory and on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

// The reduced loss and, where there is room for them, gradients times the scale.
cudaError_t reconstruction_loss(const ReconstructionCall& call, Workspace workspace, Result loss);
cudaError_t reconstruction_terms(const ReconstructionCall& call, void* terms);
// Gradients: times the scale, and times `incoming`, one for each element, unless null.
cudaError_t reconstruction_backward(const ReconstructionCall& call, const void* incoming);

}  // namespace fastgan::cuda
