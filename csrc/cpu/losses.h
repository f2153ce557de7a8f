// The losses on logits of any number of tensors, each with its own label and weight.
#pragma once

#include "kernels.h"

namespace fastgan {

// total = the weighted sum of all terms. Writes gradients times the scale to the outputs that are not null.
// details: [2 count + 1] in the compute type, or null: each tensor's part of the total, each tensor's mean output of D,
// and the fraction of saturated logits among all.
void loss_forward(const LossCall& call, Result total, void* details);
void loss_terms(const LossCall& call);
// Gradients times the scale and, unless null, the upstream gradients.
void loss_backward(const LossCall& call);

// Sizes and weight of one tensor.
struct LossPart {
  int64_t size, chunks;
  double weight;
};
// Computes total and details from the sums of chunks, which are in the order of their tensors.
void write_loss(const LossSums* partials, const LossPart* parts, int count, DType dtype, Result total, void* details);

}  // namespace fastgan
