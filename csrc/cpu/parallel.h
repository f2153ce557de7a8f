#pragma once

#include <algorithm>

#include "../calls.h"

namespace fastgan {

// The unit of work is a logit: 0.2 ns on an AVX-512 core. Up to this amount, waking a second thread costs more than it
// saves.
constexpr int64_t kParallelWork = 32768;

// Runs body(0), ..., body(count - 1), on up to `threads` threads if there is enough work. A body must write only to
// places that belong to its index, so that the result does not depend on the number of threads.
template <class Body>
void for_each_piece(int64_t count, int64_t work, Where threads, const Body& body) {
  if (threads == 1 || count == 1 || work <= kParallelWork) {  // even a region of one thread costs 1 us
    for (int64_t index = 0; index < count; ++index) body(index);
    return;
  }
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(dynamic)
  for (int64_t index = 0; index < count; ++index) body(index);
}

// Runs body(first, last) for ranges of `step` that together are [0, size).
template <class Body>
void for_each_range(int64_t size, int64_t step, int64_t work, Where threads, const Body& body) {
  for_each_piece((size + step - 1) / step, work, threads,
                 [&](int64_t piece) { body(piece * step, std::min(size, (piece + 1) * step)); });
}

}  // namespace fastgan
