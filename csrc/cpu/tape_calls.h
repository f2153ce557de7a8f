// What a tape can call. Each function makes a call for all rows of its unit, which the tape makes for ranges of them;
// `per_row` is the number of elements (or rows) for each row of the unit. Pointers must stay valid as long as the tape.
#pragma once

#include "adam.h"
#include "kernels.h"
#include "record.h"
#include "sgd.h"
#include "tape.h"

namespace fastgan {

// A function of a range of elements, or of rows, as a call.
template <class Range>
Tape::Call ranged(int64_t per_row, const Range& range) {
  return [=](int64_t first, int64_t last) { range(first * per_row, last * per_row); };
}

// Rows of a product.
Tape::Call product_call(const Product& product, int64_t per_row);
// Columns of a product.
Tape::Call columns_call(const Product& product);
// Packs rows of a weight [features, width] for x w^T (to `forward`) and for dy w (to `dgrad`); either may be null.
Tape::Call pack_call(const float* weight, int64_t features, int64_t width, float* forward, float* dgrad);

// Random numbers of a kind (0: int64 in [0, high), 1: normal, 2: uniform); to[0] has the index `begin`.
struct Drawn {
  int kind;
  void* to;
  int64_t begin;
  uint64_t high, seed;
  const int64_t* step;
};
Tape::Call draw_call(const Drawn& drawn, int64_t per_row);

// The others work on all rows at once.
Tape::Call loss_call(Loss loss, std::vector<LossTensor> tensors, float* total, float* details);
Tape::Call record_call(RecordCall call, std::vector<const float*> scalars);

}  // namespace fastgan
