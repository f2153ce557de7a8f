// Bias + leaky ReLU over [outer, channels, inner], as in csrc/cpu/bias_leaky_relu.h, on a stream.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Memory needed for the bias gradient: sums in the compute type, and counters that are zero between calls.
struct LayerWorkspace {
  int64_t sums, counters;
};
LayerWorkspace layer_workspace(const LayerShape& shape);

// bias may be null, y may be x.
cudaError_t bias_leaky_relu_forward(const LayerShape& shape, const void* x, const void* bias, void* y);
// dx may be dy. grad_bias may be null; then sums and counters are unused.
cudaError_t bias_leaky_relu_backward(const LayerShape& shape, const void* dy, const void* y, void* dx, void* grad_bias,
                                     void* sums, unsigned* counters);

}  // namespace fastgan::cuda
