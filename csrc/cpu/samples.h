// What a training step does to batches between the networks, each function for the rows or elements first to last - 1
// on this thread. Results do not depend on the range. Each product and sum is rounded by itself, as in PyTorch:
// samples.cpp is compiled without contraction. A result may overwrite an operand of its shape.
#pragma once

#include "kernels.h"

namespace fastgan {

// to [last, width] = data[rows]; bytes are pixels, which become numbers in [-1, 1]
void gather_rows(const float* data, const int64_t* rows, float* to, int64_t first, int64_t last, int64_t width);
void gather_rows(const uint8_t* data, const int64_t* rows, float* to, int64_t first, int64_t last, int64_t width);

// to = samples + std * noise, for elements
void add_noise(const float* samples, const float* noise, const float* std, float* to, int64_t first, int64_t last);

// to = the point at share [rows] on the way from fake to real; exact for shares 0 and 1
void between_rows(const float* real, const float* fake, const float* share, float* to, int64_t first, int64_t last,
                  int64_t width);

// Dropout after a leaky ReLU with outputs y, for elements. In place: y becomes y * kept, and `derivative`, which holds
// numbers in [0, 1), kept * slope of the leaky ReLU; kept is `factor` for numbers below `share`, else 0.
void dropout_range(float* y, float* derivative, int64_t first, int64_t last, float share, float factor,
                   float negative_slope);

// x = factor * x + shift, for elements
void scale_shift_range(float* x, int64_t first, int64_t last, float factor, float shift);

// to = x * factors [rows]
void multiply_rows(const float* x, const float* factors, float* to, int64_t first, int64_t last, int64_t width);

// Half the unbiased standard deviation of all elements: the size of the noise in around_rows.
float half_deviation(const float* real, int64_t size);
// to = real + share [rows] * half_deviation * noise
void around_rows(const float* real, const float* share, const float* noise, float half_deviation, float* to,
                 int64_t first, int64_t last, int64_t width);

// grad = 2 * weight * (1 - 1 / |slope|) * slope for each row; 0 for a row of zeros. It is the derivative of
// weight * (|slope| - 1)^2.
void lipschitz_rows(const float* slope, float* grad, int64_t first, int64_t last, int64_t width, double weight);

}  // namespace fastgan
