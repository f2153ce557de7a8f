// Products of a few rows of a matrix with a vector, for spectral norms. Included by isa.cpp only; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

template <class T>
double inner_product(const void* x_, const void* y_, int64_t size) {
  using A = compute_t<T>;
  const T *x = static_cast<const T*>(x_), *y = static_cast<const T*>(y_);
  double total = 0;
  for (int64_t start = 0; start < size; start += kChunk) {  // at most 256 terms in a float sum
    const int64_t end = start + kChunk < size ? start + kChunk : size;
    A sums[kLanes] = {};
    int64_t at = start;
    for (; at + kLanes <= end; at += kLanes) {
#pragma omp simd
      for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += load(x[at + lane]) * load(y[at + lane]);
    }
    for (int64_t lane = 0; at + lane < end; ++lane) sums[lane] += load(x[at + lane]) * load(y[at + lane]);
    for (const A sum : sums) total += static_cast<double>(sum);
  }
  return total;
}

// Reads kTogether rows for each access to the sums.
template <class T, int kTogether>
void add_rows(const T* __restrict w, const compute_t<T>* factors, compute_t<T>* __restrict sums, int64_t columns) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    compute_t<T> sum = sums[c];
    for (int row = 0; row < kTogether; ++row) sum += load(w[row * columns + c]) * factors[row];
    sums[c] = sum;
  }
}

template <class T>
void add_weighted_rows(const void* w_, const double* factors, void* sums_, int64_t rows, int64_t columns) {
  constexpr int kTogether = 8;
  const T* w = static_cast<const T*>(w_);
  auto* sums = static_cast<compute_t<T>*>(sums_);
  compute_t<T> few[kTogether];
  for (int64_t row = 0; row < rows; row += kTogether) {
    const int64_t left = rows - row < kTogether ? rows - row : kTogether;
    for (int64_t i = 0; i < left; ++i) few[i] = static_cast<compute_t<T>>(factors[row + i]);
    if (left == kTogether) {
      add_rows<T, kTogether>(w + row * columns, few, sums, columns);
    } else {
      for (int64_t i = 0; i < left; ++i) add_rows<T, 1>(w + (row + i) * columns, few + i, sums, columns);
    }
  }
}

template <class T>
double divide_vector(const double* __restrict values, int64_t size, double divisor, void* to_) {
  T* __restrict to = static_cast<T*>(to_);
  double product = 0;
#pragma omp simd reduction(+ : product)
  for (int64_t i = 0; i < size; ++i) {
    store(&to[i], static_cast<compute_t<T>>(values[i] / divisor));
    product += values[i] * static_cast<double>(load(to[i]));
  }
  return product;
}

template <class T>
void divide(const void* w_, void* scaled_, int64_t size, double sigma_) {
  const T* __restrict w = static_cast<const T*>(w_);
  T* __restrict scaled = static_cast<T*>(scaled_);
  const auto sigma = static_cast<compute_t<T>>(sigma_);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) store(&scaled[i], load(w[i]) / sigma);
}

template <class T>
void spectral_grad_rows(const void* grad_, const void* u_, const void* v_, void* dw_, int64_t rows, int64_t columns,
                        double inner, double sigma_) {
  using A = compute_t<T>;
  const T *u = static_cast<const T*>(u_), *__restrict v = static_cast<const T*>(v_);
  const A sigma = static_cast<A>(sigma_);
  for (int64_t row = 0; row < rows; ++row) {
    const T* __restrict grad = static_cast<const T*>(grad_) + row * columns;
    T* __restrict dw = static_cast<T*>(dw_) + row * columns;
    const A factor = static_cast<A>(inner) * load(u[row]);
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) store(&dw[c], (load(grad[c]) - factor * load(v[c])) / sigma);
  }
}

}  // namespace
}  // namespace fastgan
