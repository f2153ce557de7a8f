#include "table_batch.h"

#include <algorithm>

#include "parallel.h"

namespace fastgan {
namespace {

// floor(share * count), within [0, count); 0 for nan.
int64_t index_of(float share, int64_t count) {
  const double product = static_cast<double>(share) * static_cast<double>(count);
  if (!(product > 0)) return 0;
  return product < static_cast<double>(count) ? static_cast<int64_t>(product) : count - 1;
}

int64_t clamped(int64_t index, int64_t count) { return std::clamp<int64_t>(index, 0, count - 1); }

// A row that has the condition; any row if none has it.
int64_t row_of(const TableCall& c, float share, int64_t condition) {
  const int64_t first = clamped(c.starts[condition], c.order_size);
  const int64_t count = std::clamp<int64_t>(c.starts[condition + 1], 0, c.order_size) - first;
  return clamped(c.order[first + index_of(share, std::max<int64_t>(count, 1))], c.rows);
}

template <class T>
void write_row(const TableCall& c, int64_t row, T* to) {
  const int32_t* codes = c.codes + row * c.num_codes;
  const float* values = c.values + row * c.num_values;
  std::fill_n(to, c.width, T(0));
  for (const int32_t* span = c.tables.spans; span < c.tables.spans + 3 * c.tables.count; span += 3) {
    if (span[1] == 1)
      to[span[0]] = static_cast<T>(values[span[2]]);
    else
      to[span[0] + clamped(codes[span[2]], span[1])] = T(1);
  }
}

template <class T>
void write_rows(const TableCall& c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    T* to = static_cast<T*>(c.into.at) + i * c.into.stride;
    if (c.conditions == nullptr) {
      write_row(c, index_of(c.uniform[i], c.rows), to);
      continue;
    }
    const int64_t condition = clamped(c.conditions[i], c.tables.conditions);
    write_row(c, row_of(c, c.uniform[i], condition), to);
    std::fill_n(to + c.width, c.tables.conditions, T(0));
    to[c.width + condition] = T(1);
  }
}

}  // namespace

void table_rows(const TableCall& call, int64_t first, int64_t last) { write_rows<float>(call, first, last); }

void table_batch(const TableCall& call) {
  const int64_t work = call.width + call.tables.conditions + 4 * call.tables.count;  // a random access takes longer
  const auto write = call.dtype == DType::f64 ? write_rows<double> : write_rows<float>;
  for_each_range(call.batch, std::max<int64_t>(kChunk / work, 1), call.batch * work, call.where,
                 [&](int64_t first, int64_t last) { write(call, first, last); });
}

void encode_row(const SpanTables& tables, const float* row, int32_t* codes, float* values) {
  for (const int32_t* span = tables.spans; span < tables.spans + 3 * tables.count; span += 3) {
    const float* first = row + span[0];
    if (span[1] == 1)
      values[span[2]] = *first;
    else
      codes[span[2]] = static_cast<int32_t>(std::max_element(first, first + span[1]) - first);
  }
}

void draw_conditions(const float* uniform, int64_t count, const double* cumulative, int64_t conditions, int64_t* drawn,
                     Where threads) {
  constexpr int64_t kWork = 64;  // of a binary search
  for_each_range(count, kChunk / kWork, kWork * count, threads, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const auto number = static_cast<double>(uniform[i]);
      const double* from = cumulative;
      // The range's length does not depend on the comparison, so that there is no branch to mispredict.
      for (int64_t left = conditions; left > 1; left -= left / 2)
        from += from[left / 2 - 1] > number ? 0 : left / 2;
      drawn[i] = from - cumulative;
    }
  });
}

}  // namespace fastgan
