// One step of Adam (Kingma and Ba, 2015, algorithm 1), with the running average of the weights and a bfloat16 copy.
#pragma once

#include "kernels.h"

namespace fastgan {

// Arrays of equal length, of `dtype`.
struct AdamCall {
  void* values;
  const void* grads;
  void *exp_avg, *exp_avg_sq;
  void* average;  // or null; moves towards the new values by *average_weight
  const float* count;  // the number of this step, from 1 on
  const float *learning_rate, *average_weight;
  double beta1, beta2, eps;
  DType dtype = DType::f32;
  void* halves = nullptr;  // bfloat16, or null; receives the new values
  double weight_decay = 0;  // times the values: added to the gradients
};

// Elements first to last - 1, on this thread. An element's result does not depend on the range.
void adam_range(const AdamCall& call, int64_t first, int64_t last);
void adam(const AdamCall& call, int64_t size, Where threads);

}  // namespace fastgan
