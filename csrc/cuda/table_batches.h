// Conditions, and batches of rows of an encoded table, on a stream. Nothing is empty.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// drawn[i], of [count]: the first of `conditions` whose cumulative share is above uniform[i]; the last one if none is.
cudaError_t draw_conditions(const float* uniform, int64_t count, const double* cumulative, int64_t conditions,
                            int64_t* drawn, Where where);

// order_size: elements of call.order. Conditions, starts, rows and codes out of range count as the nearest in range.
cudaError_t table_batch(const TableCall& call, int64_t order_size);

}  // namespace fastgan::cuda
