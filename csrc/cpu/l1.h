// The L1 distance |x - y| of any number of pairs of tensors, each with its own weight.
#pragma once

#include "kernels.h"

namespace fastgan {

// loss = the weighted sum of all |x - y|. Writes gradients times the scale to dx and dy unless null.
void l1_loss(const L1Call& call, Result loss);
// |x - y| of the only pair, without its weight.
void l1_terms(const L1Call& call, void* terms);
// Gradients times the scale and, unless null, the upstream gradients.
void l1_backward(const L1Call& call);

}  // namespace fastgan
