#include "small_linear.h"

#include <algorithm>
#include <vector>

#include "bias_leaky_relu.h"
#include "kernels.h"
#include "parallel.h"

namespace fastgan {
namespace {

constexpr int64_t kPanel = 32;  // the widest of small_product_loops.h
constexpr int64_t kProductsInALogit = 16;  // multiply-adds in the time of one logit: see parallel.h

// Kept between calls, a buffer for each use and thread: an allocation would cost as much as a small product.
float* grown(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  return buffer.data();
}

// Panels of columns, each on one thread. A column's sum does not depend on which.
void multiply(const SmallProduct& p, int threads) {
  const int64_t panels = (p.columns + kPanel - 1) / kPanel;
  for_each_piece(panels, p.rows * p.columns * p.depth / kProductsInALogit, threads, [&](int64_t panel) {
    thread_local std::vector<float> buffer;
    const int64_t first = panel * kPanel;
    SmallProduct part = p;
    part.columns = std::min(kPanel, p.columns - first);
    part.b += first * p.b_column;
    part.c += first;
    part.bias = p.bias == nullptr ? nullptr : p.bias + first;
    kernels().small_product(part, grown(buffer, p.depth * kPanel));
  });
}

}  // namespace

void small_linear_forward(const SmallLinear& l, const float* bias, float* y) {
  // w is read as its transpose; a slope of 1 leaves a linear layer
  multiply({l.n, l.m, l.k, l.x, l.k, 1, l.w, 1, l.k, y, l.m, true, bias, l.negative_slope}, l.threads);
}

void small_linear_backward(const SmallLinear& l, const float* dy, const float* y, float* dx, float* dw, float* db) {
  thread_local std::vector<float> buffer;
  float* dz = grown(buffer, l.n * l.m);
  bias_leaky_relu_backward({DType::f32, l.n, l.m, 1, l.negative_slope, l.threads}, dy, y, dz, db);
  if (dx != nullptr) multiply({l.n, l.k, l.m, dz, l.m, 1, l.w, l.k, 1, dx, l.k, false, nullptr, 0}, l.threads);
  if (dw != nullptr) multiply({l.m, l.k, l.n, dz, 1, l.m, l.x, l.k, 1, dw, l.k, false, nullptr, 0}, l.threads);
}

void small_product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t a_row, int64_t a_column,
                   const float* b, float* c, int threads) {
  multiply({rows, columns, depth, a, a_row, a_column, b, columns, 1, c, columns, false, nullptr, 0}, threads);
}

}  // namespace fastgan
