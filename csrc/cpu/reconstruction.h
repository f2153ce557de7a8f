// The L1 reconstruction loss |x - y| of samples x and their reconstructions y.
#pragma once

#include "kernels.h"

namespace fastgan {

// Writes the reduced loss, and gradients times the scale to dx and dy unless null.
void reconstruction_loss(const ReconstructionCall& call, Result loss);
void reconstruction_terms(const ReconstructionCall& call, void* terms);
// Gradients times the scale and times `incoming` [size], the upstream gradients (null: 1).
void reconstruction_backward(const ReconstructionCall& call, const void* incoming);

}  // namespace fastgan
