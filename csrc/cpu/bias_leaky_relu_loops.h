// Bias + leaky ReLU over one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

// x and y may be the same array: equal addresses do not prevent vectorization.
template <class T>
void bias_leaky_relu_rows(const void* x_, const void* bias_, void* y_, int64_t rows, int64_t channels,
                          double negative_slope) {
  using A = compute_t<T>;
  const T* bias = static_cast<const T*>(bias_);
  const A slope = static_cast<A>(negative_slope);
  for (int64_t row = 0; row < rows; ++row) {
    const T* x = static_cast<const T*>(x_) + row * channels;
    T* y = static_cast<T*>(y_) + row * channels;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) store(&y[c], leaky_relu(load(x[c]) + load(bias[c]), slope));
  }
}

template <class T>
void bias_leaky_relu_plane(const void* x_, const void* bias_, void* y_, int64_t size, double negative_slope) {
  using A = compute_t<T>;
  const T* x = static_cast<const T*>(x_);
  T* y = static_cast<T*>(y_);
  const A bias = bias_ == nullptr ? A(0) : load(*static_cast<const T*>(bias_));
  const A slope = static_cast<A>(negative_slope);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) store(&y[i], leaky_relu(load(x[i]) + bias, slope));
}

template <class T>
void leaky_relu_grad_rows(const void* dy_, const void* y_, void* dx_, void* sums_, int64_t rows, int64_t channels,
                          double negative_slope) {
  using A = compute_t<T>;
  A* __restrict sums = static_cast<A*>(sums_);
  const A slope = static_cast<A>(negative_slope);
  for (int64_t row = 0; row < rows; ++row) {
    const T* dy = static_cast<const T*>(dy_) + row * channels;
    const T* y = static_cast<const T*>(y_) + row * channels;
    T* dx = static_cast<T*>(dx_) + row * channels;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const A gradient = leaky_relu_gradient(load(dy[c]), load(y[c]), slope);
      store(&dx[c], gradient);
      sums[c] += gradient;
    }
  }
}

template <class T>
double leaky_relu_grad_plane(const void* dy_, const void* y_, void* dx_, int64_t size, double negative_slope) {
  using A = compute_t<T>;
  const T* dy = static_cast<const T*>(dy_);
  const T* y = static_cast<const T*>(y_);
  T* dx = static_cast<T*>(dx_);
  const A slope = static_cast<A>(negative_slope);
  double total = 0;
  for (int64_t start = 0; start < size; start += 1024) {  // float sums of 1024 terms, added up in double
    const int64_t end = start + 1024 < size ? start + 1024 : size;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = start; i < end; ++i) {
      const A gradient = leaky_relu_gradient(load(dy[i]), load(y[i]), slope);
      store(&dx[i], gradient);
      sum += gradient;
    }
    total += static_cast<double>(sum);
  }
  return total;
}

}  // namespace
}  // namespace fastgan
