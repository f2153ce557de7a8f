#include "mlp.h"

#include <algorithm>

#include "chunks.h"
#include "products.h"

namespace fastgan {
namespace {

// Leaky ReLU is part of the products' last step.
bool is_fused(const Activation& activation) {
  return activation.kind == ActivationKind::none || activation.kind == ActivationKind::leaky_relu;
}

// dw = dz^T x of a layer; scale: [rows] weights of the rows, or null.
void wgrad(const MLP& mlp, int64_t layer, const float* dz, const float* scale, const float* x, float* dw) {
  const int64_t k = mlp.features[layer], m = mlp.product_width(layer);
  Product p{m, k, mlp.rows, dz, 1, m, x, k, 1, dw, k};
  p.a_scale = scale;
  multiply(p, mlp.threads);
}

// The lowest layer for which dz is needed.
int64_t lowest(const MLP& mlp, const MLPGradients& g) {
  if (g.dx != nullptr) return 0;
  int64_t layer = 0;
  while (layer < mlp.layers && g.dw[layer] == nullptr && g.db[layer] == nullptr) ++layer;
  return layer;
}

int64_t widest_product(const MLP& mlp) {
  int64_t widest = 0;
  for (int64_t i = 0; i + 1 < mlp.layers; ++i) widest = std::max(widest, mlp.product_width(i));
  return widest;
}

// Rows of a maxout's output that have about the elements of a chunk before it; the split does not affect the results.
template <class Body>
void for_each_rows(const ActivationCall& call, const Body& body) {
  const int64_t row = call.width * call.activation.pieces;
  const int64_t each = std::max<int64_t>(1, kChunk / std::max<int64_t>(row, 1));
  for_each_piece((call.rows + each - 1) / each, call.rows * row, call.threads, [&](int64_t piece) {
    const int64_t first = piece * each;
    body(first * row, first * call.width, std::min(each, call.rows - first));
  });
}

template <class Body>
void for_each_range(const ActivationCall& call, const Body& body) {
  const int64_t size = call.rows * call.width;
  for_each_piece(chunks_of(size), size, call.threads, [&](int64_t piece) {
    const int64_t first = piece * kChunk;
    body(first, std::min(kChunk, size - first));
  });
}

}  // namespace

void activation_forward(const ActivationCall& call, const float* z, float* y) {
  const Activation& activation = call.activation;
  if (activation.kind == ActivationKind::maxout)
    return for_each_rows(call, [&](int64_t at, int64_t unit, int64_t rows) {
      kernels().maxout(z + at, y + unit, rows, call.width, activation.pieces);
    });
  for_each_range(call, [&](int64_t at, int64_t count) { kernels().activate(z + at, y + at, count, activation); });
}

void activation_backward(const ActivationCall& call, const float* dy, const float* z, const float* y, float* dz) {
  const Activation& activation = call.activation;
  if (activation.kind == ActivationKind::maxout)
    return for_each_rows(call, [&](int64_t at, int64_t unit, int64_t rows) {
      kernels().maxout_grad(dy + unit, z + at, y + unit, dz + at, rows, call.width, activation.pieces);
    });
  for_each_range(call, [&](int64_t at, int64_t count) {
    kernels().activation_grad(dy + at, y + at, dz + at, count, activation);
  });
}

void maxout_tangent(const ActivationCall& call, const float* change, const float* z, const float* y,
                    float* change_of_y) {
  for_each_rows(call, [&](int64_t at, int64_t unit, int64_t rows) {
    kernels().maxout_tangent(change + at, z + at, y + unit, change_of_y + unit, rows, call.width,
                             call.activation.pieces);
  });
}

void mlp_forward(const MLP& mlp, const float* x, const float* const* biases, float* const* products,
                 float* const* outputs) {
  for (int64_t i = 0; i < mlp.layers; ++i) {
    const int64_t k = mlp.features[i], m = mlp.product_width(i);
    const bool is_last = i + 1 == mlp.layers;
    const bool is_maxout = !is_last && mlp.activations[i].kind == ActivationKind::maxout;
    float* const z = is_maxout ? products[i] : outputs[i];
    Product p{mlp.rows, m, k, x, k, 1, mlp.weights[i], 1, k, z, m};
    p.bias = biases[i];
    p.activate = !is_last && mlp.activations[i].kind == ActivationKind::leaky_relu;
    if (p.activate) p.negative_slope = mlp.activations[i].negative_slope;
    multiply(p, mlp.threads);
    if (!is_last && !is_fused(mlp.activations[i]))
      activation_forward({mlp.activations[i], mlp.rows, mlp.features[i + 1], mlp.threads}, z, outputs[i]);
    x = outputs[i];
  }
}

void mlp_backward(const MLP& mlp, const MLPGradients& g) {
  const int64_t first = lowest(mlp, g);
  float* free = g.scratch;
  float* taken = g.scratch + mlp.rows * widest_product(mlp);
  const float* dz = g.grad;
  for (int64_t i = mlp.layers - 1; i >= first; --i) {
    const int64_t k = mlp.features[i], m = mlp.product_width(i);
    if (g.dw[i] != nullptr) wgrad(mlp, i, dz, g.scale, i == 0 ? g.x : g.outputs[i - 1], g.dw[i]);
    if (g.db[i] != nullptr) multiply(row_sums(dz, mlp.rows, m, g.scale, g.db[i]), mlp.threads);
    if (i == 0) {
      if (g.dx != nullptr)
        multiply({mlp.rows - g.first_row, k, m, dz + g.first_row * m, m, 1, mlp.weights[0], k, 1, g.dx, k},
                 mlp.threads);
    } else if (i > first) {
      const Activation& below = mlp.activations[i - 1];
      const bool is_maxout = below.kind == ActivationKind::maxout;
      float* const to = g.dz != nullptr ? g.dz[i - 1] : is_maxout ? taken : free;
      float* const dy = is_maxout ? free : to;
      Product p{mlp.rows, k, m, dz, m, 1, mlp.weights[i], k, 1, dy, k};
      if (below.kind == ActivationKind::leaky_relu) {
        p.output = g.outputs[i - 1];
        p.negative_slope = below.negative_slope;
      }
      multiply(p, mlp.threads);
      if (!is_fused(below))
        activation_backward({below, mlp.rows, k, mlp.threads}, dy, g.products[i - 1], g.outputs[i - 1], to);
      dz = to;
      if (to == free) std::swap(free, taken);
    }
  }
}

void mlp_slope_backward(const MLP& mlp, const MLPSlopeGradients& g) {
  float* free = g.scratch;
  float* taken = g.scratch + mlp.rows * widest_product(mlp);
  const float* change = g.grad;
  for (int64_t i = 0; i < mlp.layers; ++i) {
    wgrad(mlp, i, g.dz[i], nullptr, change, g.dw[i]);
    if (i + 1 == mlp.layers) return;
    const Activation& activation = mlp.activations[i];
    const int64_t k = mlp.features[i], m = mlp.product_width(i);
    Product p{mlp.rows, m, k, change, k, 1, mlp.weights[i], 1, k, free, m};
    if (activation.kind == ActivationKind::leaky_relu) {
      p.output = g.outputs[i];
      p.negative_slope = activation.negative_slope;
    }
    multiply(p, mlp.threads);
    const ActivationCall call{activation, mlp.rows, mlp.features[i + 1], mlp.threads};
    if (activation.kind == ActivationKind::maxout)
      maxout_tangent(call, free, g.products[i], g.outputs[i], taken);
    else
      std::swap(free, taken);
    change = taken;
  }
}

}  // namespace fastgan
