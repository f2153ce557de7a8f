// Conditions, and batches of rows of an encoded table.
#pragma once

#include "kernels.h"

namespace fastgan {

// Numbers and indices that do not fit count as the nearest that do: nothing is read or written out of bounds.
void table_batch(const TableCall& call);
// Rows first to last - 1 of a float batch, on this thread.
void table_rows(const TableCall& call, int64_t first, int64_t last);

// The row of an encoded table that a row of activated spans stands for: of a softmax, its first largest column.
// codes, values: as many as there are softmax and tanh spans.
void encode_row(const SpanTables& tables, const float* row, int32_t* codes, float* values);

// drawn [count]: the first of `conditions` ascending shares above each number, or the last one.
void draw_conditions(const float* uniform, int64_t count, const double* cumulative, int64_t conditions, int64_t* drawn,
                     Where threads);

}  // namespace fastgan
