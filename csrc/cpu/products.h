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

// The columns of dz^T x for the columns of x of which `hot` [rows] says which is 1, where the others are 0.
struct HotGradient {
  const float* dz;  // [rows, features]
  int64_t rows, features;
  const int64_t* hot;  // [rows]
  int64_t columns;
  float* dw;  // [features, columns], rows `dw_row` apart
  int64_t dw_row;
};
// Some features, on this thread; the bits are those of a product.
void hot_gradient(const HotGradient& gradient, int64_t first, int64_t last);

void multiply(const Product& product, Where threads);
// Some columns, on this thread; first_column is a multiple of kProductPanel.
void multiply_here(const Product& product, int64_t first_column, int64_t columns);

}  // namespace fastgan
