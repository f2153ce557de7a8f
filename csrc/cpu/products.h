// Linear layers in float: matrix products fused with bias and activation. One call per pass.
#pragma once

#include "kernels.h"

namespace fastgan {

struct Linear {
  int64_t n, k, m;  // x [n, k], w [m, k], y [n, m]
  Act act;          // a leaky ReLU; none if alpha and gain are 1, without a bound
  const float *x, *w;
  Where threads;
};

// y = clamp(gain * leaky_relu(x w^T + bias)); bias may be null.
void linear_forward(const Linear& layer, const float* bias, float* y);
// Computes those of dx, dw and db that are not null.
void linear_backward(const Linear& layer, const float* dy, const float* y, float* dx, float* dw, float* db);

// sums [columns] = the sum of a matrix's rows, each times its element of scale [rows] if that is not null. The order of
// the sum depends neither on the columns of a part nor on the number of threads.
Product row_sums(const float* matrix, int64_t rows, int64_t columns, const float* scale, float* sums);

void multiply(const Product& product, Where threads);
// Some columns, on this thread; first_column is a multiple of kProductPanel.
void multiply_here(const Product& product, int64_t first_column, int64_t columns);

}  // namespace fastgan
