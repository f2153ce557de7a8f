#include "mlp.h"

#include <algorithm>

#include "products.h"

namespace fastgan {
namespace {

constexpr float kOne = 1;

// dw = dz^T x of a layer; scale: [rows] weights of the rows, or null.
void wgrad(const MLP& mlp, int64_t layer, const float* dz, const float* scale, const float* x, float* dw) {
  const int64_t k = mlp.features[layer], m = mlp.features[layer + 1];
  Product p{m, k, mlp.rows, dz, 1, m, x, k, 1, dw, k};
  p.a_scale = scale;
  multiply(p, mlp.threads);
}

// db = the sum of dz over its rows, with the same weights.
void bias_gradient(const MLP& mlp, int64_t layer, const float* dz, const float* scale, float* db) {
  const int64_t m = mlp.features[layer + 1];
  multiply({1, m, mlp.rows, scale == nullptr ? &kOne : scale, 1, scale == nullptr ? 0 : 1, dz, m, 1, db, m},
           mlp.threads);
}

// The lowest layer for which dz is needed.
int64_t lowest(const MLP& mlp, const MLPGradients& g) {
  if (g.dx != nullptr) return 0;
  int64_t layer = 0;
  while (layer < mlp.layers && g.dw[layer] == nullptr && g.db[layer] == nullptr) ++layer;
  return layer;
}

}  // namespace

void mlp_forward(const MLP& mlp, const float* x, const float* const* biases, float* const* outputs) {
  for (int64_t i = 0; i < mlp.layers; ++i) {
    const int64_t k = mlp.features[i], m = mlp.features[i + 1];
    Product p{mlp.rows, m, k, x, k, 1, mlp.weights[i], 1, k, outputs[i], m};
    p.bias = biases[i];
    p.activate = i + 1 < mlp.layers;
    p.negative_slope = mlp.negative_slope;
    multiply(p, mlp.threads);
    x = outputs[i];
  }
}

void mlp_backward(const MLP& mlp, const MLPGradients& g) {
  const int64_t first = lowest(mlp, g);
  float* free = g.scratch;
  float* taken = mlp.layers > 1 ? g.scratch + mlp.rows * *std::max_element(mlp.features + 1, mlp.features + mlp.layers)
                                : nullptr;
  const float* dz = g.grad;
  bool has_bias_gradient = false;  // the product that gives dz also gives db, except in the last layer or with a scale
  for (int64_t i = mlp.layers - 1; i >= first; --i) {
    const int64_t k = mlp.features[i], m = mlp.features[i + 1];
    if (g.dw[i] != nullptr) wgrad(mlp, i, dz, g.scale, i == 0 ? g.x : g.outputs[i - 1], g.dw[i]);
    if (g.db[i] != nullptr && !has_bias_gradient) bias_gradient(mlp, i, dz, g.scale, g.db[i]);
    if (i == 0) {
      if (g.dx != nullptr)
        multiply({mlp.rows - g.first_row, k, m, dz + g.first_row * m, m, 1, mlp.weights[0], k, 1, g.dx, k},
                 mlp.threads);
    } else if (i > first) {
      Product p{mlp.rows, k, m, dz, m, 1, mlp.weights[i], k, 1, free, k};
      p.output = g.outputs[i - 1];
      p.negative_slope = mlp.negative_slope;
      has_bias_gradient = g.scale == nullptr;
      if (has_bias_gradient) p.sums = g.db[i - 1];
      multiply(p, mlp.threads);
      dz = free;
      std::swap(free, taken);
    }
  }
}

}  // namespace fastgan
