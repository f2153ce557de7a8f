#include "samples.h"

#include <algorithm>
#include <cmath>

#include "vector_norm.h"

namespace fastgan {

void gather_rows(const float* data, const int64_t* rows, float* to, int64_t first, int64_t last, int64_t width) {
  for (int64_t row = first; row < last; ++row)
    std::copy_n(data + rows[row] * width, width, to + row * width);  // memcpy takes no null, even for width 0
}

void gather_rows(const uint8_t* data, const int64_t* rows, float* to, int64_t first, int64_t last, int64_t width) {
  for (int64_t row = first; row < last; ++row) {
    const uint8_t* from = data + rows[row] * width;
    float* pixels = to + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) pixels[i] = static_cast<float>(from[i]) / 127.5f - 1.0f;
  }
}

void add_noise(const float* samples, const float* noise, const float* std, float* to, int64_t first, int64_t last) {
  const float size = *std;
#pragma omp simd
  for (int64_t i = first; i < last; ++i) to[i] = samples[i] + size * noise[i];
}

void between_rows(const float* real, const float* fake, const float* share, float* to, int64_t first, int64_t last,
                  int64_t width) {
  for (int64_t row = first; row < last; ++row) {
    const float way = share[row];
    const bool is_near = way < 0.5f;  // the point is nearer to the generated sample
    const float factor = is_near ? way : way - 1.0f;
#pragma omp simd
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      to[i] = (is_near ? fake[i] : real[i]) + factor * (real[i] - fake[i]);
  }
}

void dropout_range(float* y, float* derivative, int64_t first, int64_t last, float share, float factor,
                   float negative_slope) {
#pragma omp simd
  for (int64_t i = first; i < last; ++i) {
    const float kept = derivative[i] < share ? factor : 0.0f;
    derivative[i] = y[i] > 0.0f ? kept : negative_slope * kept;
    y[i] *= kept;
  }
}

void scale_shift_range(float* x, int64_t first, int64_t last, float factor, float shift) {
#pragma omp simd
  for (int64_t i = first; i < last; ++i) x[i] = factor * x[i] + shift;
}

void multiply_rows(const float* x, const float* factors, float* to, int64_t first, int64_t last, int64_t width) {
  for (int64_t row = first; row < last; ++row) {
    const float factor = factors[row];
#pragma omp simd
    for (int64_t i = row * width; i < (row + 1) * width; ++i) to[i] = x[i] * factor;
  }
}

float half_deviation(const float* real, int64_t size) {
  double mean, squares;
  kernels().norm_statistics_plane[static_cast<int>(DType::f32)](real, size, &mean, &squares);
  return static_cast<float>(std::sqrt(squares / static_cast<double>(size - 1))) / 2;
}

void around_rows(const float* real, const float* share, const float* noise, float half_deviation, float* to,
                 int64_t first, int64_t last, int64_t width) {
  for (int64_t row = first; row < last; ++row) {
    const float size = share[row] * half_deviation;
#pragma omp simd
    for (int64_t i = row * width; i < (row + 1) * width; ++i) to[i] = real[i] + size * noise[i];
  }
}

void lipschitz_rows(const float* slope, float* grad, int64_t first, int64_t last, int64_t width, double weight) {
  for (int64_t row = first; row < last; ++row) {
    const double norm = std::sqrt(sum_of_squares(slope + row * width, width));
    const double factor = norm == 0 ? 0 : 2 * weight * (1 - 1 / norm);
    scale_range(slope, grad, row * width, (row + 1) * width, static_cast<float>(factor));
  }
}

}  // namespace fastgan
