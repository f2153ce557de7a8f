// Assigns rows of a matrix to blocks, and the spans of a block's rows to groups of lanes.
#pragma once

#include "reduce.cuh"
#include "span_activations.h"

namespace fastgan::cuda {

constexpr int kLanes = 8;            // that share a span of usual size
constexpr int kLongestOfLanes = 64;  // columns of a span; all lanes of a warp share a longer one
constexpr int kMostRows = kThreads / 32;

// A block has a range of rows, of which it processes a few at a time: one for each warp, or fewer if they are wide.
// The assignment depends only on sizes, and so does the order of sums over rows.
struct RowGrid {
  int64_t rows;
  int width;
  int across;     // threads along a row while it is copied, a power of two from 32 on
  int at_once;    // rows that a block processes together
  int64_t span;   // rows of a block
  int64_t blocks;
};

inline RowGrid row_grid(int64_t rows, int64_t width) {
  RowGrid g{rows, static_cast<int>(width), 32, 0, 0, 0};
  while (g.across < kThreads && g.across < g.width) g.across *= 2;
  g.at_once = kThreads / g.across;
  g.span = ceil_div(ceil_div(rows, g.at_once), kSpanPartials) * g.at_once;
  g.blocks = ceil_div(rows, g.span);
  return g;
}

// Calls work(first, count) for the rows that a block processes together, with the number of the first one.
template <class Work>
__device__ void for_rows(const RowGrid& g, const Work& work) {
  const int64_t start = blockIdx.x * g.span, stop = start + g.span < g.rows ? start + g.span : g.rows;
  for (int64_t first = start; first < stop; first += g.at_once)
    work(first, static_cast<int>(stop - first < g.at_once ? stop - first : g.at_once));
}

// Calls work(row, column, at) for a thread's elements of `rows` rows, with `at` = row * width + column. Neighbouring
// threads have neighbouring columns.
template <class Work>
__device__ void for_elements(const RowGrid& g, int rows, const Work& work) {
  const int row = static_cast<int>(threadIdx.x) / g.across;
  if (row >= rows) return;
#pragma unroll 2
  for (int column = static_cast<int>(threadIdx.x) % g.across; column < g.width; column += g.across)
    work(row, column, row * g.width + column);
}

struct Span {
  int row, first, size;  // size: 0 if there is none
};

__device__ inline Span span_of(const SpanTables& tables, int item, int items) {
  if (item >= items) return {0, 0, 0};
  const int count = static_cast<int>(tables.count);
  const int32_t* const span = tables.spans + 3 * (item % count);
  return {item / count, span[0], span[1]};
}

// Calls work(span, lanes) for each span of `rows` rows; the lanes, a constant, share it. All of a warp's lanes call it
// together, some with a span of size 0, so that they can shuffle.
template <class Work>
__device__ void for_spans(const SpanTables& tables, int rows, const Work& work) {
  constexpr int kTogether = 32 / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int items = rows * static_cast<int>(tables.count);
  for (int item = warp * kTogether; item < items; item += kThreads / kLanes) {
    Span own = span_of(tables, item + lane / kLanes, items);
    int longest = own.size;
    for (int step = 16; step >= kLanes; step /= 2) {
      const int other = __shfl_xor_sync(0xffffffffu, longest, step);
      longest = other > longest ? other : longest;
    }
    if (own.size > kLongestOfLanes) own.size = 0;
    work(own, std::integral_constant<int, kLanes>{});
    if (longest <= kLongestOfLanes) continue;
#pragma unroll 1
    for (int each = 0; each < kTogether; ++each) {
      const Span span = span_of(tables, item + each, items);
      if (span.size > kLongestOfLanes) work(span, std::integral_constant<int, 32>{});
    }
  }
}

// Sum and maximum over groups of lanes. All of a warp's lanes must call them.
template <int kGroup, class A>
__device__ A sum_of_lanes(A value) {
  for (int step = kGroup / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

template <int kGroup, class A>
__device__ A highest_of_lanes(A value) {
  for (int step = kGroup / 2; step > 0; step /= 2) {
    const A other = __shfl_xor_sync(0xffffffffu, value, step);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace fastgan::cuda
