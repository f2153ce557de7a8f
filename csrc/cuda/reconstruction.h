// The L1 reconstruction loss, as in csrc/cpu/reconstruction.h, on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

cudaError_t reconstruction_loss(const ReconstructionCall& call, Workspace workspace, Result loss);
cudaError_t reconstruction_terms(const ReconstructionCall& call, void* terms);
cudaError_t reconstruction_backward(const ReconstructionCall& call, const void* incoming);

}  // namespace fastgan::cuda
