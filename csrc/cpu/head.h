// The discriminator's head over whole tensors: logits t = features weight + bias, their loss as in losses.h, and its
// gradients, in one pass over the features.
#pragma once

#include "kernels.h"

namespace fastgan {

// sums: [width + 1] in the compute type, or null: gradients of the weight and, last, of the bias.
// details: as in losses.h.
void head_loss(const HeadCall& call, Result total, void* details, void* sums);
// grad [rows, width] = scale * slopes * weight.
void head_grad(const HeadCall& call);

}  // namespace fastgan
