// One step of Adam over parameters that lie end to end (Kingma and Ba, 2015, algorithm 1), and what follows from it.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

struct AdamCall {
  DType dtype;            // of values, grads, moments and average
  int64_t size;
  void* values;           // [size]
  const void* grads;      // [size]
  void* exp_avg;          // [size]
  void* exp_avg_sq;       // [size]
  void* average;          // [size], or null: goes towards the new values by *average_weight
  void* halves;           // [size] of bfloat16, or null: becomes the new values
  float* count;           // steps done; this one counts if is_first
  bool is_first;
  const float* learning_rate;
  const float* average_weight;
  double beta1, beta2, eps;
  unsigned* counter;      // zero between calls
  Where where;
};

cudaError_t adam(const AdamCall& call);

}  // namespace fastgan::cuda
