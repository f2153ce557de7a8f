// The L1 reconstruction loss over whole arrays: |x - y|, of samples x and what an autoencoder makes of them.
#pragma once

#include "kernels.h"

namespace fastgan {

struct ReconstructionCall {
  DType dtype;
  const void *x, *y;
  int64_t size;
  void *dx, *dy;  // gradients, or null
  bool mean;      // the sum over `size`
  int threads;
};

// The reduced loss into `loss` (of loss_dtype) and, where there is room for them, gradients times `scale` (null: 1).
void reconstruction_loss(const ReconstructionCall& call, const void* scale, DType scale_dtype, void* loss,
                         DType loss_dtype);
void reconstruction_terms(const ReconstructionCall& call, void* terms);
// Gradients: times the scalar `scale` (null: 1), and times `incoming` (null: 1), one for each element.
void reconstruction_backward(const ReconstructionCall& call, const void* incoming, const void* scale,
                             DType scale_dtype);

}  // namespace fastgan
