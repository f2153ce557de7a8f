#pragma once

#include "../calls.h"

namespace fastgan {

void spectral_norm(const SpectralCall& call);
void spectral_norm_backward(const SpectralGradCall& call);

}  // namespace fastgan
