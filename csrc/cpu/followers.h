// What follows the weights in an optimizer's step: their running average and their bfloat16 copy.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "../storage.h"

namespace fastgan {

// The work of an element, in units of kParallelWork.
constexpr int64_t kOptimizerWork = 4;

// Calls visit(at, size) for blocks of a range, each small enough that the weights are still in L1 when others follow.
template <class Visit>
void for_each_block(int64_t first, int64_t last, const Visit& visit) {
  constexpr int64_t kBlock = 1024;
  for (int64_t at = first; at < last; at += kBlock) visit(at, std::min(kBlock, last - at));
}

struct Followers {
  const void* values;
  void* average;  // or null
  void* halves;   // or null
  const float* average_weight;
  DType dtype;
};

inline void follow(const Followers& all, int64_t at, int64_t size) {
  const void* values = advance(all.values, at, all.dtype);
  const int dtype = static_cast<int>(all.dtype);
  if (all.average != nullptr)
    kernels().move_average[dtype](values, advance(all.average, at, all.dtype), size, *all.average_weight);
  if (all.halves != nullptr) kernels().halve[dtype](values, advance(all.halves, at, DType::bf16), size);
}

}  // namespace fastgan
