// Spectral norms, as in csrc/cpu/spectral_norm.h, on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

constexpr int kMostWeights = 32;  // per launch, whose arguments hold each weight's addresses and sizes

// Elements of the compute type that both passes need for partial sums of weights of these sizes.
int64_t spectral_workspace(const SpectralCall& call);

// For at most kMostWeights, with a counter for each.
cudaError_t spectral_norm(const SpectralCall& call, Workspace workspace);
cudaError_t spectral_norm_backward(const SpectralGradCall& call, void* partials);

}  // namespace fastgan::cuda
