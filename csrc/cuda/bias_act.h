// Bias and activation over [outer, channels, inner], as in csrc/cpu/bias_act.h, on a stream. No tensor is empty.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Memory needed for the bias gradient: sums in the compute type, and counters that are zero between calls.
struct LayerWorkspace {
  int64_t sums, counters;
};
LayerWorkspace layer_workspace(const LayerShape& shape);

// y = clamp(gain * f(x + bias)); bias may be null, y may be x.
cudaError_t bias_act(const LayerShape& shape, const Act& act, const void* x, const void* bias, void* y);
// Without grad_bias, sums and counters are unused.
cudaError_t bias_act_backward(const LayerShape& shape, const Act& act, const BiasActGrad& grad, void* sums,
                              unsigned* counters);

}  // namespace fastgan::cuda
