// Norms of tensors, and gradients clipped by their norm. As in losses.cpp, partial sums belong to chunks.
#pragma once

#include "kernels.h"

namespace fastgan {

// The sum of |x| or of x^2 over one chunk, in a fixed order.
double sum_of_absolutes(const float* x, int64_t size);
double sum_of_squares(const float* x, int64_t size);

// A contiguous tensor of floats or doubles.
struct Flat {
  void* x;
  int64_t size;
  DType dtype;
};

// norm = the sum of |x| (order 1), or the root of the sum of x^2 (order 2).
void vector_norm(const Flat& x, int order, Result norm, Where threads);

// The factor that scales gradients of this norm to the largest allowed one; at most 1.
double clip_factor(double norm, double max_norm);
// Scales all tensors by the factor for their norm together.
void clip(const Flat* tensors, int count, double max_norm, Where threads);

// to = factor * from for elements first to last - 1, on this thread; to may be from.
void scale_range(const float* from, float* to, int64_t first, int64_t last, float factor);

}  // namespace fastgan
