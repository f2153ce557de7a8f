// The losses on logits, over whole arrays: one or two tensors of logits, each with its own label.
//   discriminator: (real, real_label) and (fake, 0); generator: (fake, 1), or saturating -(fake, 0)
#pragma once

#include "kernels.h"

namespace fastgan {

struct LossTensor {
  const void* logits;
  int64_t size;
  double label;
  const void* incoming;  // gradient of each term, or null: a scalar gradient
  void* output;          // terms or gradients, `size` elements
};

struct LossCall {
  Loss loss;
  DType dtype;
  LossTensor tensors[2];  // an absent second one has size 0
  int count;
  double sign;
  bool mean;  // each tensor's sum over its own size
  int threads;

  int64_t elements() const { return tensors[0].size + tensors[1].size; }
};

// The reduced loss into `loss` (of loss_dtype); statistics, unless null, as count means of D's output and
// the share of saturated logits.
void loss_forward(const LossCall& call, void* loss, DType loss_dtype, float* stats);
void loss_terms(const LossCall& call);
// Gradients for a scalar `incoming` of incoming_dtype (null: 1) times each tensor's own incoming terms. Nothing is to
// be done where the outputs hold the gradients for an incoming 1 already, and 1 it is.
void loss_backward(const LossCall& call, const void* incoming, DType incoming_dtype, bool are_for_one = false);
void loss_forward_backward(const LossCall& call, const void* incoming, DType incoming_dtype, void* loss,
                           DType loss_dtype, float* stats);

// Loss and statistics from the sums of chunks, those of the second tensor from index `first`.
void write_loss(const LossSums* partials, int64_t first, int64_t all, int64_t size_first, int64_t size_second, int count,
                double sign, bool mean, void* loss, DType loss_dtype, float* stats);

}  // namespace fastgan
