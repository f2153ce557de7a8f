// Linear layers in float: matrix products fused with bias, activation and sums. One call per pass.
#pragma once

#include "kernels.h"

namespace fastgan {

struct Linear {
  int64_t n, k, m;  // x [n, k], w [m, k], y [n, m]
  float negative_slope;
  const float *x, *w;
  Where threads;
};

// y = leaky_relu(x w^T + bias); bias may be null. negative_slope = 1 means no activation.
void linear_forward(const Linear& layer, const float* bias, float* y);
// Computes those of dx, dw and db that are not null.
void linear_backward(const Linear& layer, const float* dy, const float* y, float* dx, float* dw, float* db);

void multiply(const Product& product, Where threads);

}  // namespace fastgan
