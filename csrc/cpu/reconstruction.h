// The L1 reconstruction loss over whole arrays: |x - y|, of samples x and what an autoencoder makes of them.
#pragma once

#include "kernels.h"

namespace fastgan {

// The reduced loss and, where there is room for them, gradients times the scale.
void reconstruction_loss(const ReconstructionCall& call, Result loss);
void reconstruction_terms(const ReconstructionCall& call, void* terms);
// Gradients times the scale, and times `incoming` (null: 1), one for each element.
void reconstruction_backward(const ReconstructionCall& call, const void* incoming);

}  // namespace fastgan
