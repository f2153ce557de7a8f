#include "sgd.h"

#include "followers.h"
#include "parallel.h"

namespace fastgan {

void sgd_range(const SgdCall& call, int64_t first, int64_t last) {
  const auto kernel = kernels().sgd[static_cast<int>(call.dtype)];
  const auto from = [&](auto* array, int64_t at) { return advance(array, at, call.dtype); };
  for_each_block(first, last, [&](int64_t at, int64_t size) {
    kernel({from(call.values, at), from(call.grads, at), from(call.velocity, at), size, *call.learning_rate,
            *call.momentum});
    follow({call.values, call.average, call.halves, call.average_weight, call.dtype}, at, size);
  });
}

void sgd(const SgdCall& call, int64_t size, Where threads) {
  for_each_range(size, kChunk, kOptimizerWork * size, threads,
                 [&](int64_t first, int64_t last) { sgd_range(call, first, last); });
}

}  // namespace fastgan
