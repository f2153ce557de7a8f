// Bias, activation, gain and bound over [outer, channels, inner]; inner = 1 if channels are innermost.
#pragma once

#include "kernels.h"

namespace fastgan {

// y = clamp(gain * f(x + bias)); bias may be null, y may be x.
void bias_act(const LayerShape& shape, const Act& act, const void* x, const void* bias, void* y);
void bias_act_backward(const LayerShape& shape, const Act& act, const BiasActGrad& grad);

}  // namespace fastgan
