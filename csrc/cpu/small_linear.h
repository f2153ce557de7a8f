// Linear + leaky ReLU in float where the layer is small: the whole forward or backward pass in one call. Three calls into a BLAS cost 10 us whatever they compute.
#pragma once

#include <cstdint>

namespace fastgan {

struct SmallLinear {
  int64_t n, k, m;  // x [n, k], w [m, k], y [n, m]
  float negative_slope;
  const float *x, *w;
  int threads;
};

// y = leaky_relu(x w^T + bias); bias may be null.
void small_linear_forward(const SmallLinear& layer, const float* bias, float* y);
// dx, dw and db, each unless null.
void small_linear_backward(const SmallLinear& layer, const float* dy, const float* y, float* dx, float* dw, float* db);

// c [rows, columns] = a b, with a by strides and b [depth, columns].
void small_product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_row, int64_t a_column,
                   const float* b, float* c, int threads);

}  // namespace fastgan
