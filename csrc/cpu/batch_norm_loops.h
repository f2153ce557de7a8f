// Batch norm + leaky ReLU over one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

// One product and one sum: compilers contract them in one way only, so the backward pass finds the sign of the forward.
template <class A>
FASTGAN_HD A normalized(A centered, A factor, A bias) {
  return centered * factor + bias;
}

// Adds `count` values, given by the sums of their differences from `shift` and of the squares of these, to the mean and
// sum of squared deviations of `before` values (Chan et al., 1983).
FASTGAN_HD void add_values(double* mean, double* squares, double before, double count, double shift, double sum,
                           double sum_of_squares) {
  const double within = sum_of_squares - sum * sum / count;
  const double step = shift + sum / count - *mean;
  const double share = count / (before + count);
  *mean += step * share;
  *squares += (within < 0 ? 0 : within) + step * step * before * share;
}

constexpr int64_t kNormBlock = 64;  // rows; few enough for sums in float

// Calls of<4>(row) for four rows at a time, which read the numbers of their channels once, and then of<1>(row).
template <class Four, class One>
void for_rows(int64_t begin, int64_t end, const Four& four, const One& one) {
  int64_t row = begin;
  for (; row + 4 <= end; row += 4) four(row);
  for (; row < end; ++row) one(row);
}

template <class T, int kRows>
FASTGAN_HD void add_differences(const T* __restrict x, int64_t stride, int64_t columns,
                                const compute_t<T>* __restrict shift, compute_t<T>* __restrict sum,
                                compute_t<T>* __restrict sum_of_squares) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    compute_t<T> differences = 0, squares = 0;
    for (int row = 0; row < kRows; ++row) {
      const compute_t<T> d = load(x[row * stride + c]) - shift[c];
      differences += d;
      squares += d * d;
    }
    sum[c] += differences;
    sum_of_squares[c] += squares;
  }
}

// Differences from the mean of earlier values lose no digits: if these values have another mean, the step between the
// two is what the variance consists of. In the first block, a few of its rows stand for earlier values.
template <class T>
void norm_statistics_rows(const void* x_, int64_t stride, int64_t rows, int64_t columns, double* means,
                          double* squares) {
  using A = compute_t<T>;
  const T* x = static_cast<const T*>(x_);
  A shift[kNormColumns], sum[kNormColumns], sum_of_squares[kNormColumns];
  for (int64_t c = 0; c < columns; ++c) shift[c] = means[c] = squares[c] = 0;
  const int64_t few = rows < 8 ? rows : 8;
  for (int64_t row = 0; row < few; ++row) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) shift[c] += load(x[row * stride + c]) / static_cast<A>(few);
  }
  for (int64_t start = 0; start < rows; start += kNormBlock) {
    const int64_t end = start + kNormBlock < rows ? start + kNormBlock : rows;
    for (int64_t c = 0; c < columns; ++c) sum[c] = sum_of_squares[c] = 0;
    for_rows(
        start, end,
        [&](int64_t row) { add_differences<T, 4>(x + row * stride, stride, columns, shift, sum, sum_of_squares); },
        [&](int64_t row) { add_differences<T, 1>(x + row * stride, stride, columns, shift, sum, sum_of_squares); });
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      add_values(&means[c], &squares[c], static_cast<double>(start), static_cast<double>(end - start),
                 static_cast<double>(shift[c]), static_cast<double>(sum[c]), static_cast<double>(sum_of_squares[c]));
      shift[c] = static_cast<A>(means[c]);
    }
  }
}

template <class T>
void norm_statistics_plane(const void* x_, int64_t size, double* mean, double* squares) {
  using A = compute_t<T>;
  constexpr int64_t kBlock = 1024;  // few enough for sums in float, of which there are as many as a vector has lanes
  const T* x = static_cast<const T*>(x_);
  const int64_t few = size < 128 ? size : 128;
  A shift = 0;
#pragma omp simd reduction(+ : shift)
  for (int64_t i = 0; i < few; ++i) shift += load(x[i]);
  shift /= static_cast<A>(few);
  *mean = *squares = 0;
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t end = start + kBlock < size ? start + kBlock : size;
    A sum = 0, sum_of_squares = 0;
#pragma omp simd reduction(+ : sum, sum_of_squares)
    for (int64_t i = start; i < end; ++i) {
      const A d = load(x[i]) - shift;
      sum += d;
      sum_of_squares += d * d;
    }
    add_values(mean, squares, static_cast<double>(start), static_cast<double>(end - start), static_cast<double>(shift),
               static_cast<double>(sum), static_cast<double>(sum_of_squares));
    shift = static_cast<A>(*mean);
  }
}

// The numbers of a chunk's channels, with the types of its kernel.
template <class A>
struct NormNumbers {
  const A* __restrict mean;
  const A* __restrict factor;
  const A* __restrict bias;
  const A* __restrict of_centered;
  const A* __restrict constant;
  A slope;
  explicit NormNumbers(const NormChunk& c)
      : mean(static_cast<const A*>(c.mean)), factor(static_cast<const A*>(c.factor)),
        bias(static_cast<const A*>(c.bias)), of_centered(static_cast<const A*>(c.of_centered)),
        constant(static_cast<const A*>(c.constant)), slope(static_cast<A>(c.negative_slope)) {}
};

// kStep: 1 if each column has numbers of its own, 0 if a chunk is a part of one channel.
template <class T, int kStep, int kRows>
FASTGAN_HD void normalize_rows(const NormChunk& c, int64_t first, const NormNumbers<compute_t<T>>& n) {
  using A = compute_t<T>;
  const T* __restrict x = static_cast<const T*>(c.x) + first * c.x_stride;
  T* __restrict y = static_cast<T*>(c.output) + first * c.output_stride;
  const int64_t x_stride = c.x_stride, y_stride = c.output_stride;
  const A slope = n.slope;
#pragma omp simd
  for (int64_t i = 0; i < c.columns; ++i) {
    const A mean = n.mean[i * kStep], factor = n.factor[i * kStep], bias = n.bias[i * kStep];
    for (int row = 0; row < kRows; ++row)
      store(&y[row * y_stride + i], leaky_relu(normalized(load(x[row * x_stride + i]) - mean, factor, bias), slope));
  }
}

template <class T, int kStep>
void norm_leaky_relu(const NormChunk& c) {
  const NormNumbers<compute_t<T>> n(c);
  for_rows(
      0, c.rows, [&](int64_t row) { normalize_rows<T, kStep, 4>(c, row, n); },
      [&](int64_t row) { normalize_rows<T, kStep, 1>(c, row, n); });
}

// In evaluation a gradient depends on x by its slope only: an infinite x leaves it finite.
template <class T, int kStep, bool kTraining, int kRows>
FASTGAN_HD void grad_rows(const NormChunk& c, int64_t first, const NormNumbers<compute_t<T>>& n) {
  using A = compute_t<T>;
  const T* __restrict x = static_cast<const T*>(c.x) + first * c.x_stride;
  const T* __restrict dy = static_cast<const T*>(c.dy) + first * c.dy_stride;
  T* __restrict dx = static_cast<T*>(c.output) + first * c.output_stride;
  const int64_t x_stride = c.x_stride, dy_stride = c.dy_stride, dx_stride = c.output_stride;
  const A slope = n.slope;
#pragma omp simd
  for (int64_t i = 0; i < c.columns; ++i) {
    const A mean = n.mean[i * kStep], factor = n.factor[i * kStep], bias = n.bias[i * kStep];
    const A of_centered = kTraining ? n.of_centered[i * kStep] : A(0);
    const A constant = kTraining ? n.constant[i * kStep] : A(0);
    for (int row = 0; row < kRows; ++row) {
      const A d = load(x[row * x_stride + i]) - mean;
      const A g = leaky_relu_gradient(load(dy[row * dy_stride + i]), normalized(d, factor, bias), slope);
      store(&dx[row * dx_stride + i], kTraining ? factor * g + (of_centered * d + constant) : factor * g);
    }
  }
}

template <class T, int kStep, bool kTraining>
FASTGAN_HD void grad_chunk(const NormChunk& c) {
  const NormNumbers<compute_t<T>> n(c);
  for_rows(
      0, c.rows, [&](int64_t row) { grad_rows<T, kStep, kTraining, 4>(c, row, n); },
      [&](int64_t row) { grad_rows<T, kStep, kTraining, 1>(c, row, n); });
}

template <class T, int kStep>
void norm_grad(const NormChunk& c) {
  c.of_centered == nullptr ? grad_chunk<T, kStep, false>(c) : grad_chunk<T, kStep, true>(c);
}

template <class T, int kRows>
FASTGAN_HD void add_grads(const NormChunk& c, int64_t first, const NormNumbers<compute_t<T>>& n,
                          compute_t<T>* __restrict sum, compute_t<T>* __restrict of_centered) {
  using A = compute_t<T>;
  const T* __restrict x = static_cast<const T*>(c.x) + first * c.x_stride;
  const T* __restrict dy = static_cast<const T*>(c.dy) + first * c.dy_stride;
  const int64_t x_stride = c.x_stride, dy_stride = c.dy_stride;
  const A slope = n.slope;
#pragma omp simd
  for (int64_t i = 0; i < c.columns; ++i) {
    const A mean = n.mean[i], factor = n.factor[i], bias = n.bias[i];
    A grads = 0, products = 0;
    for (int row = 0; row < kRows; ++row) {
      const A d = load(x[row * x_stride + i]) - mean;
      const A g = leaky_relu_gradient(load(dy[row * dy_stride + i]), normalized(d, factor, bias), slope);
      grads += g;
      products += g * d;
    }
    sum[i] += grads;
    of_centered[i] += products;
  }
}

template <class T>
void norm_grad_sums_rows(const NormChunk& c, double* sums, double* sums_of_centered) {
  using A = compute_t<T>;
  const NormNumbers<A> n(c);
  A sum[kNormColumns], of_centered[kNormColumns];
  for (int64_t i = 0; i < c.columns; ++i) sums[i] = sums_of_centered[i] = 0;
  for (int64_t start = 0; start < c.rows; start += kNormBlock) {
    const int64_t end = start + kNormBlock < c.rows ? start + kNormBlock : c.rows;
    for (int64_t i = 0; i < c.columns; ++i) sum[i] = of_centered[i] = 0;
    for_rows(
        start, end, [&](int64_t row) { add_grads<T, 4>(c, row, n, sum, of_centered); },
        [&](int64_t row) { add_grads<T, 1>(c, row, n, sum, of_centered); });
#pragma omp simd
    for (int64_t i = 0; i < c.columns; ++i) {
      sums[i] += static_cast<double>(sum[i]);
      sums_of_centered[i] += static_cast<double>(of_centered[i]);
    }
  }
}

template <class T>
void norm_grad_sums_plane(const NormChunk& c, double* total, double* total_of_centered) {
  using A = compute_t<T>;
  constexpr int64_t kBlock = 1024;  // as above
  const NormNumbers<A> n(c);
  const A mean = *n.mean, factor = *n.factor, bias = *n.bias, slope = n.slope;
  const T* __restrict x = static_cast<const T*>(c.x);
  const T* __restrict dy = static_cast<const T*>(c.dy);
  *total = *total_of_centered = 0;
  for (int64_t start = 0; start < c.columns; start += kBlock) {
    const int64_t end = start + kBlock < c.columns ? start + kBlock : c.columns;
    A sum = 0, of_centered = 0;
#pragma omp simd reduction(+ : sum, of_centered)
    for (int64_t i = start; i < end; ++i) {
      const A d = load(x[i]) - mean;
      const A g = leaky_relu_gradient(load(dy[i]), normalized(d, factor, bias), slope);
      sum += g;
      of_centered += g * d;
    }
    *total += static_cast<double>(sum);
    *total_of_centered += static_cast<double>(of_centered);
  }
}

}  // namespace
}  // namespace fastgan
