// Sums for the norm of one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

// Adds up in double: the square of a small gradient may be zero in float.
template <class T, bool kSquares>
double sum_of_magnitudes(const void* x_, int64_t size) {
  constexpr int64_t kSums = 32;
  const T* x = static_cast<const T*>(x_);
  const auto magnitude = [](T value) {
    const double magnitude = absolute(static_cast<double>(load(value)));
    return kSquares ? magnitude * magnitude : magnitude;
  };
  double sums[kSums] = {};
  int64_t at = 0;
  for (; at + kSums <= size; at += kSums) {
#pragma omp simd
    for (int64_t lane = 0; lane < kSums; ++lane) sums[lane] += magnitude(x[at + lane]);
  }
  for (int64_t lane = 0; at + lane < size; ++lane) sums[lane] += magnitude(x[at + lane]);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace
}  // namespace fastgan
