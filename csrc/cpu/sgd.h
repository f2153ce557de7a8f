// Gradient descent with momentum (Sutskever et al., 2013, equations 1 and 2), with the running average of the weights
// and a bfloat16 copy.
#pragma once

#include "kernels.h"

namespace fastgan {

// Arrays of equal length, of `dtype`: velocity = momentum * velocity - learning_rate * grads, values += velocity.
struct SgdCall {
  void* values;
  const void* grads;
  void* velocity;
  void* average;  // or null; moves towards the new values by *average_weight
  const float *learning_rate, *momentum, *average_weight;
  DType dtype = DType::f32;
  void* halves = nullptr;  // bfloat16, or null; receives the new values
};

// Elements first to last - 1, on this thread. An element's result does not depend on the range.
void sgd_range(const SgdCall& call, int64_t first, int64_t last);
void sgd(const SgdCall& call, int64_t size, Where threads);

}  // namespace fastgan
