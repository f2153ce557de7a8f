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

// Differences from the mean of earlier values lose no digits: if these values have another mean, the step between the
// two is what the variance consists of. Only the first block has no earlier values.
template <class T>
void norm_statistics_rows(const void* x_, int64_t stride, int64_t rows, int64_t columns, double* means,
                          double* squares) {
  using A = compute_t<T>;
  constexpr int64_t kBlock = 64;  // rows; few enough for sums in float
  A shift[kNormColumns], sum[kNormColumns], sum_of_squares[kNormColumns];
  for (int64_t c = 0; c < columns; ++c) shift[c] = means[c] = squares[c] = 0;
  const T* x = static_cast<const T*>(x_);
  const int64_t first = rows < kBlock ? rows : kBlock;
  for (int64_t row = 0; row < first; ++row) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) shift[c] += load(x[row * stride + c]);
  }
  for (int64_t c = 0; c < columns; ++c) shift[c] /= static_cast<A>(first);
  for (int64_t row = 0; row < rows; row += kBlock) {
    const int64_t end = row + kBlock < rows ? row + kBlock : rows;
    for (int64_t c = 0; c < columns; ++c) sum[c] = sum_of_squares[c] = 0;
    for (int64_t r = row; r < end; ++r) {
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) {
        const A d = load(x[r * stride + c]) - shift[c];
        sum[c] += d;
        sum_of_squares[c] += d * d;
      }
    }
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      add_values(&means[c], &squares[c], static_cast<double>(row), static_cast<double>(end - row),
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
  const int64_t first = size < kBlock ? size : kBlock;
  A shift = 0;
#pragma omp simd reduction(+ : shift)
  for (int64_t i = 0; i < first; ++i) shift += load(x[i]);
  shift /= static_cast<A>(first);
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

// kStep: 1 if each column has numbers of its own, 0 if a chunk is a part of one channel.
template <class T, int kStep>
void norm_leaky_relu(const NormChunk& c) {
  using A = compute_t<T>;
  const A* __restrict mean = static_cast<const A*>(c.mean);
  const A* __restrict factor = static_cast<const A*>(c.factor);
  const A* __restrict bias = static_cast<const A*>(c.bias);
  const A slope = static_cast<A>(c.negative_slope);
  for (int64_t row = 0; row < c.rows; ++row) {
    const T* __restrict x = static_cast<const T*>(c.x) + row * c.stride;
    T* __restrict y = static_cast<T*>(c.output) + row * c.stride;
#pragma omp simd
    for (int64_t i = 0; i < c.columns; ++i) {
      const A z = normalized(load(x[i]) - mean[i * kStep], factor[i * kStep], bias[i * kStep]);
      store(&y[i], leaky_relu(z, slope));
    }
  }
}

template <class T, int kStep>
void norm_grad(const NormChunk& c) {
  using A = compute_t<T>;
  const A* __restrict mean = static_cast<const A*>(c.mean);
  const A* __restrict factor = static_cast<const A*>(c.factor);
  const A* __restrict bias = static_cast<const A*>(c.bias);
  const A* __restrict of_centered = static_cast<const A*>(c.of_centered);
  const A* __restrict constant = static_cast<const A*>(c.constant);
  const A slope = static_cast<A>(c.negative_slope);
  for (int64_t row = 0; row < c.rows; ++row) {
    const T* __restrict x = static_cast<const T*>(c.x) + row * c.stride;
    const T* __restrict dy = static_cast<const T*>(c.dy) + row * c.stride;
    T* __restrict dx = static_cast<T*>(c.output) + row * c.stride;
#pragma omp simd
    for (int64_t i = 0; i < c.columns; ++i) {
      const int64_t k = i * kStep;
      const A d = load(x[i]) - mean[k];
      const A g = leaky_relu_gradient(load(dy[i]), normalized(d, factor[k], bias[k]), slope);
      store(&dx[i], factor[k] * g + (of_centered[k] * d + constant[k]));
    }
  }
}

template <class T>
void norm_grad_sums_rows(const NormChunk& c, double* sums, double* sums_of_centered) {
  using A = compute_t<T>;
  constexpr int64_t kBlock = 64;  // rows; few enough for sums in float
  const A* __restrict mean = static_cast<const A*>(c.mean);
  const A* __restrict factor = static_cast<const A*>(c.factor);
  const A* __restrict bias = static_cast<const A*>(c.bias);
  const A slope = static_cast<A>(c.negative_slope);
  A sum[kNormColumns], of_centered[kNormColumns];
  for (int64_t i = 0; i < c.columns; ++i) sums[i] = sums_of_centered[i] = 0;
  for (int64_t row = 0; row < c.rows; row += kBlock) {
    const int64_t end = row + kBlock < c.rows ? row + kBlock : c.rows;
    for (int64_t i = 0; i < c.columns; ++i) sum[i] = of_centered[i] = 0;
    for (int64_t r = row; r < end; ++r) {
      const T* __restrict x = static_cast<const T*>(c.x) + r * c.stride;
      const T* __restrict dy = static_cast<const T*>(c.dy) + r * c.stride;
#pragma omp simd
      for (int64_t i = 0; i < c.columns; ++i) {
        const A d = load(x[i]) - mean[i];
        const A g = leaky_relu_gradient(load(dy[i]), normalized(d, factor[i], bias[i]), slope);
        sum[i] += g;
        of_centered[i] += g * d;
      }
    }
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
  const A mean = *static_cast<const A*>(c.mean), factor = *static_cast<const A*>(c.factor);
  const A bias = *static_cast<const A*>(c.bias), slope = static_cast<A>(c.negative_slope);
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
