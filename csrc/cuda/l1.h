// L1 distances, as in csrc/cpu/l1.h, on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

constexpr int kMostPairs = 64;  // per launch: HiFi-GAN's discriminators have 54 feature maps

cudaError_t l1_loss(const L1Call& call, Workspace workspace, Result loss);
cudaError_t l1_terms(const L1Call& call, void* terms);
cudaError_t l1_backward(const L1Call& call);

}  // namespace fastgan::cuda
