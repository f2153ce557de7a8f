#include "small_linear.h"

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace fastgan {

// Kept between calls: an allocation would cost as much as a small product.
static float* scratch(int64_t size) {
  thread_local std::vector<float> buffer;
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  return buffer.data();
}

constexpr int64_t kWidestPanel = 32;

void small_linear_forward(const SmallLinear& l, const float* bias, float* y) {
  // w is read as its transpose; a slope of 1 leaves a linear layer
  kernels().small_product({l.n, l.m, l.k, l.x, l.k, 1, l.w, 1, l.k, y, true, bias, l.negative_slope},
                          scratch(l.k * kWidestPanel));
}

void small_linear_backward(const SmallLinear& l, const float* dy, const float* y, float* dx, float* dw, float* db) {
  const int64_t panels = kWidestPanel * std::max(l.m, l.n);
  float* dz = scratch(panels + l.n * l.m + l.m);
  float* sums = dz + l.n * l.m;
  float* panel = sums + l.m;
  std::fill(sums, sums + l.m, 0.0f);
  kernels().leaky_relu_grad_rows[static_cast<int>(DType::f32)](dy, y, dz, sums, l.n, l.m, l.negative_slope);
  if (db != nullptr) std::copy(sums, sums + l.m, db);
  if (dx != nullptr) kernels().small_product({l.n, l.k, l.m, dz, l.m, 1, l.w, l.k, 1, dx, false, nullptr, 0}, panel);
  if (dw != nullptr) kernels().small_product({l.m, l.k, l.n, dz, 1, l.m, l.x, l.k, 1, dw, false, nullptr, 0}, panel);
}

void small_product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_row, int64_t a_column,
                   const float* b, float* c) {
  kernels().small_product({rows, columns, depth, a, a_row, a_column, b, columns, 1, c, false, nullptr, 0},
                          scratch(depth * kWidestPanel));
}

}  // namespace fastgan
