// Matrix products of linear layers in float, fused with what follows them; any layer's pass is one call.
#pragma once

#include "kernels.h"

namespace fastgan {

struct Linear {
  int64_t n, k, m;  // x [n, k], w [m, k], y [n, m]
  float negative_slope;
  const float *x, *w;
  Where threads;
};

// y = leaky_relu(x w^T + bias); bias may be null, and a slope of 1 leaves a linear layer.
void linear_forward(const Linear& layer, const float* bias, float* y);
// dx, dw and db, each unless null.
void linear_backward(const Linear& layer, const float* dy, const float* y, float* dx, float* dw, float* db);

void multiply(const Product& product, Where threads);

}  // namespace fastgan
