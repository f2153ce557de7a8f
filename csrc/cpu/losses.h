// The losses on logits over whole arrays: any number of tensors, each with its own label and weight.
#pragma once

#include "kernels.h"

namespace fastgan {

// The weighted sum of all terms into `total`; where the tensors have outputs, their gradients times the scale.
// `details`, unless null, has 2 count + 1 elements of the compute type: each tensor's share in the total, the mean of
// D's output for each, and the share of saturated logits among all.
void loss_forward(const LossCall& call, Result total, void* details);
void loss_terms(const LossCall& call);
// Gradients times the scale and each tensor's incoming ones.
void loss_backward(const LossCall& call);

// One tensor, for write_loss.
struct LossPart {
  int64_t size, chunks;
  double weight;
};
// Total and details from the sums of chunks, which follow one another as their tensors do.
void write_loss(const LossSums* partials, const LossPart* parts, int count, DType dtype, Result total, void* details);

}  // namespace fastgan
