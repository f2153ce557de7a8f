#include "adam.h"

#include <cmath>

#include "followers.h"
#include "parallel.h"

namespace fastgan {

void adam_range(const AdamCall& call, int64_t first, int64_t last) {
  const double count = *call.count;
  // 1 - beta^count, without cancellation in the first steps
  const double correction1 = -std::expm1(count * std::log(call.beta1));
  const double root2 = std::sqrt(-std::expm1(count * std::log(call.beta2)));
  const auto kernel = kernels().adam[static_cast<int>(call.dtype)];
  const auto from = [&](auto* array, int64_t at) { return advance(array, at, call.dtype); };
  for_each_block(first, last, [&](int64_t at, int64_t size) {
    // size m / c1 / (sqrt(v) / root2 + eps), with root2 in the numerator: one division
    kernel({from(call.values, at), from(call.grads, at), from(call.exp_avg, at), from(call.exp_avg_sq, at), size,
            call.beta1, call.beta2, *call.learning_rate / correction1 * root2, call.eps * root2, call.weight_decay});
    follow({call.values, call.average, call.halves, call.average_weight, call.dtype}, at, size);
  });
}

void adam(const AdamCall& call, int64_t size, Where threads) {
  for_each_range(size, kChunk, kOptimizerWork * size, threads,
                 [&](int64_t first, int64_t last) { adam_range(call, first, last); });
}

}  // namespace fastgan
