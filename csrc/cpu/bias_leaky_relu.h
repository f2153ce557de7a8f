// Bias + leaky ReLU over [outer, channels, inner]; inner = 1 if channels are innermost.
#pragma once

#include "kernels.h"

namespace fastgan {

// y = leaky_relu(x + bias); bias may be null, y may be x.
void bias_leaky_relu_forward(const LayerShape& shape, const void* x, const void* bias, void* y);
// dx = dy * slope(y) and, unless null, grad_bias [channels] = dx summed over the other dimensions. dx may be dy.
void bias_leaky_relu_backward(const LayerShape& shape, const void* dy, const void* y, void* dx, void* grad_bias);

}  // namespace fastgan
