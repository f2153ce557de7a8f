// All random numbers of a step in one launch, by Philox 4x32-10 (Salmon et al., 2011).
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Three arrays of numbers. Element i of an array is number begin + i of its kind; begin is a multiple of 4.
struct DrawCall {
  int64_t* integers;  // uniform in [0, high), high <= 2^31
  float* normal;      // mean 0, variance 1
  float* uniform;     // in [0, 1)
  int64_t sizes[3], begins[3];
  uint64_t high, seed;
  const int64_t* step;  // on the device
  Where where;
};

cudaError_t draw(const DrawCall& call);

}  // namespace fastgan::cuda
