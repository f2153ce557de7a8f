// Conditions, and batches of rows of an encoded table.
#pragma once

#include "kernels.h"

namespace fastgan {

// Numbers and indices that do not fit count as the nearest that do: nothing is read or written out of bounds.
void table_batch(const TableCall& call);

// drawn [count]: the first of `conditions` ascending shares above each number, or the last one.
void draw_conditions(const float* uniform, int64_t count, const double* cumulative, int64_t conditions, int64_t* drawn,
                     Where threads);

}  // namespace fastgan
