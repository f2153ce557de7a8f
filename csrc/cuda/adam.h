// One step of Adam (Kingma and Ba, 2015, algorithm 1) over parameters stored end to end, with their running average and
// a bfloat16 copy.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

struct AdamCall {
  DType dtype;            // type of values, grads, moments and average
  int64_t size;
  void* values;           // [size]
  const void* grads;      // [size]
  void* exp_avg;          // [size]
  void* exp_avg_sq;       // [size]
  void* average;          // [size] or null; becomes lerp(average, new values, *average_weight)
  void* halves;           // [size] bfloat16 or null; receives the new values
  float* count;           // number of steps; incremented if is_first
  bool is_first;          // the step's first call
  const float* learning_rate;
  const float* average_weight;
  double beta1, beta2, eps;
  double weight_decay;    // this times the values is added to the gradients
  unsigned* counter;      // zero between calls
  Where where;
};

cudaError_t adam(const AdamCall& call);

}  // namespace fastgan::cuda
