// Activations over a range of floats on one thread. Included by isa.cpp only; internal linkage.
//
// Element-wise functions run over blocks of kLanes elements. The last block is copied to a buffer, so that every
// element goes through the same instructions wherever it is.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

struct LeakyReLU {
  float slope;
  float operator()(float z) const { return leaky_relu(z, slope); }
  float gradient(float dy, float y) const { return leaky_relu_gradient(dy, y, slope); }
};

struct Tanh {
  float operator()(float z) const { return hyperbolic_tangent(z); }
  float gradient(float dy, float y) const { return dy * (1.0f - y * y); }
};

struct Sigmoid {
  float operator()(float z) const { return exact_sigmoid(z); }
  float gradient(float dy, float y) const { return dy * ((1.0f - y) * y); }
};

template <class Function>
__attribute__((noinline)) void activate_block(const float* z, float* y, Function function) {
#pragma omp simd
  for (int64_t i = 0; i < kLanes; ++i) y[i] = function(z[i]);
}

template <class Function>
__attribute__((noinline)) void grad_block(const float* dy, const float* y, float* dz, Function function) {
#pragma omp simd
  for (int64_t i = 0; i < kLanes; ++i) dz[i] = function.gradient(dy[i], y[i]);
}

template <class Function>
void activate_range(const float* z, float* y, int64_t count, Function function) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) activate_block(z + i, y + i, function);
  float last[kLanes] = {};
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  memcpy(last, z + i, bytes);
  activate_block(last, last, function);
  memcpy(y + i, last, bytes);
}

template <class Function>
void grad_range(const float* dy, const float* y, float* dz, int64_t count, Function function) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) grad_block(dy + i, y + i, dz + i, function);
  float last[kLanes] = {}, of_y[kLanes] = {};
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  memcpy(last, dy + i, bytes);
  memcpy(of_y, y + i, bytes);
  grad_block(last, of_y, last, function);
  memcpy(dz + i, last, bytes);
}

void activate(const float* z, float* y, int64_t count, Activation activation) {
  switch (activation.kind) {
    case ActivationKind::leaky_relu: return activate_range(z, y, count, LeakyReLU{activation.negative_slope});
    case ActivationKind::tanh: return activate_range(z, y, count, Tanh{});
    case ActivationKind::sigmoid: return activate_range(z, y, count, Sigmoid{});
    default: memmove(y, z, static_cast<size_t>(count) * sizeof(float));
  }
}

void activation_grad(const float* dy, const float* y, float* dz, int64_t count, Activation activation) {
  switch (activation.kind) {
    case ActivationKind::leaky_relu: return grad_range(dy, y, dz, count, LeakyReLU{activation.negative_slope});
    case ActivationKind::tanh: return grad_range(dy, y, dz, count, Tanh{});
    case ActivationKind::sigmoid: return grad_range(dy, y, dz, count, Sigmoid{});
    default: memmove(dz, dy, static_cast<size_t>(count) * sizeof(float));
  }
}

// nan if a piece is nan.
void maxout(const float* z, float* y, int64_t rows, int64_t width, int64_t pieces) {
  for (int64_t row = 0; row < rows; ++row, z += pieces * width, y += width) {
    memcpy(y, z, static_cast<size_t>(width) * sizeof(float));
    for (int64_t p = 1; p < pieces; ++p) {
      const float* piece = z + p * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) {
        const bool replaces = piece[i] > y[i] || piece[i] != piece[i];
        y[i] = replaces ? piece[i] : y[i];
      }
    }
  }
}

// counts[i] = the number of pieces that equal y, for `width` units up to kLanes. `row` is the width of z.
void count_ties(const float* z, const float* y, int64_t row, int64_t width, int64_t pieces, float* counts) {
  for (int64_t i = 0; i < width; ++i) counts[i] = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    const float* piece = z + p * row;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) counts[i] += piece[i] == y[i] ? 1.0f : 0.0f;
  }
}

// A unit that is nan has no ties, and gradients of 0 / 0, as in PyTorch.
void maxout_grad(const float* dy, const float* z, const float* y, float* dz, int64_t rows, int64_t width,
                 int64_t pieces) {
  float counts[kLanes], shares[kLanes], others[kLanes];
  for (int64_t row = 0; row < rows; ++row, dy += width, y += width, z += pieces * width, dz += pieces * width)
    for (int64_t first = 0; first < width; first += kLanes) {
      const int64_t some = width - first < kLanes ? width - first : kLanes;
      count_ties(z + first, y + first, width, some, pieces, counts);
#pragma omp simd
      for (int64_t i = 0; i < some; ++i) {
        shares[i] = dy[first + i] / counts[i];
        others[i] = 0.0f / counts[i];
      }
      for (int64_t p = 0; p < pieces; ++p) {
        const float* piece = z + p * width + first;
        float* to = dz + p * width + first;
#pragma omp simd
        for (int64_t i = 0; i < some; ++i) to[i] = piece[i] == y[first + i] ? shares[i] : others[i];
      }
    }
}

void maxout_tangent(const float* change, const float* z, const float* y, float* change_of_y, int64_t rows,
                    int64_t width, int64_t pieces) {
  float counts[kLanes], sums[kLanes];
  for (int64_t row = 0; row < rows;
       ++row, change_of_y += width, y += width, z += pieces * width, change += pieces * width)
    for (int64_t first = 0; first < width; first += kLanes) {
      const int64_t some = width - first < kLanes ? width - first : kLanes;
      count_ties(z + first, y + first, width, some, pieces, counts);
      for (int64_t i = 0; i < some; ++i) sums[i] = 0;
      for (int64_t p = 0; p < pieces; ++p) {
        const int64_t at = p * width + first;
#pragma omp simd
        for (int64_t i = 0; i < some; ++i) sums[i] += z[at + i] == y[first + i] ? change[at + i] : 0.0f;
      }
#pragma omp simd
      for (int64_t i = 0; i < some; ++i) change_of_y[first + i] = sums[i] / counts[i];
    }
}

}  // namespace
}  // namespace fastgan
