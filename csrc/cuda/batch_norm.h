// Batch norm + leaky ReLU over [outer, channels, inner], as in csrc/cpu/batch_norm.h, on a stream. No tensor is empty.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Partial results in the compute type: as many as the function's comment says times layer_workspace(shape).sums. Its
// counters, which are zero between calls.
struct BatchNormWorkspace {
  void* partials;
  unsigned* counters;
};

// Three partials.
cudaError_t batch_norm_statistics(const LayerShape& shape, const void* x, void* mean, void* var,
                                  PerChannel running_mean, PerChannel running_var, double momentum,
                                  BatchNormWorkspace workspace);
// Where inner is 1, the rows of y may have any stride, which is not read otherwise; so may those of dy below.
cudaError_t batch_norm_leaky_relu(const BatchNormCall& call, const void* x, Rows y);

// Where the backward pass writes; each may be null.
struct BatchNormGradients {
  void* dx;
  PerChannel dweight, dbias;
  // [2, channels] in the compute type, for a dx through mean and var, which are then those of x; otherwise they are
  // constants.
  void* averages;
};
// Two partials; none if there is only dx, with constants.
cudaError_t batch_norm_leaky_relu_backward(const BatchNormCall& call, Rows dy, const void* x,
                                           const BatchNormGradients& gradients, BatchNormWorkspace workspace);

}  // namespace fastgan::cuda
