// All random numbers of a step in one launch, by Philox 4x32-10 (Salmon et al., 2011).
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Three vectors of numbers; number i of one is number begin + i of its kind, and begin is a multiple of 4.
struct DrawCall {
  int64_t* integers;  // uniform from 0 to below high, which is at most 2^31
  float* normal;
  float* uniform;     // in [0, 1)
  int64_t sizes[3], begins[3];
  uint64_t high, seed;
  const int64_t* step;  // on the device
  Where where;
};

cudaError_t draw(const DrawCall& call);

}  // namespace fastgan::cuda
