// Assigns blocks to a tensor [outer, channels, inner], for layers with numbers or sums of channels.
//
// The tensor is treated as a matrix. If channels are innermost, a row is a sample; otherwise it is the plane of one
// channel of one sample. A block processes a stripe of columns, 16 bytes per thread, over a range of rows. Ranges
// depend only on sizes. The last block of a stripe or channel adds up the sums of ranges alone, so stripes are narrow
// where columns are summed.
#pragma once

#include "stripes.cuh"

namespace fastgan::cuda {

struct Grid {
  int64_t rows, columns;
  bool aligned;            // every address is a multiple of 16 bytes
  int across;              // threads along a row, a power of two
  int64_t stripes;         // blocks along a row
  int64_t span, ranges;    // rows per block, blocks along a column
};

constexpr int kMinSteps = 4;  // loop iterations of a block over its rows

inline Grid make_grid(int64_t rows, int64_t columns, int width, int least_across, int most_across,
                      int64_t most_blocks) {
  Grid g{rows, columns, false, least_across, 1, 1, 1};
  while (g.across < most_across && int64_t{g.across} * width < columns) g.across *= 2;
  g.stripes = ceil_div(columns, int64_t{g.across} * width);
  const int64_t step = kThreads / g.across;
  const int64_t most_ranges = most_blocks / g.stripes > 1 ? most_blocks / g.stripes : 1;
  const int64_t steps = ceil_div(ceil_div(rows, step), most_ranges);
  g.span = (steps > kMinSteps ? steps : kMinSteps) * step;
  g.ranges = ceil_div(rows, g.span);
  return g;
}

// A thread's first column and first row, the end of its block's rows, and the distance between its rows.
struct Place {
  int64_t column, row, stop;
  int step;
};

__device__ inline Place place(const Grid& g, int width) {
  const int x = static_cast<int>(threadIdx.x) % g.across, y = static_cast<int>(threadIdx.x) / g.across;
  const int64_t stripe = blockIdx.x % g.stripes, range = blockIdx.x / g.stripes;
  const int64_t stop = (range + 1) * g.span < g.rows ? (range + 1) * g.span : g.rows;
  return {(stripe * g.across + x) * width, range * g.span + y, stop, kThreads / g.across};
}

constexpr int64_t kMaxSummingBlocks = kMaxRanges;

inline bool are_channels_columns(const LayerShape& s) { return s.inner == 1; }

// Elements per load. Depends only on sizes, so that sums do not depend on addresses.
inline int vector_width(const LayerShape& s) {
  const int64_t columns = are_channels_columns(s) ? s.channels : s.inner;
  const int widest = static_cast<int>(16 / bytes_of(s.dtype));
  return columns % widest == 0 ? widest : 1;
}

// The grid of a pass that sums columns. A stripe's partial sums are added up by one block, so a stripe is narrowed from
// 32 threads (512 bytes of a row) to at least 8 (a cache line) until it has few of them. A row of partials must have at
// least 16 bytes.
inline Grid grid_of_column_sums(const LayerShape& s, int width) {
  constexpr int64_t kMaxPartialsOfStripe = 1 << 16;
  for (int across = 32;; across /= 2) {
    const Grid g = make_grid(s.outer, s.channels, width, width == 1 ? 4 : 1, across, kMaxSummingBlocks);
    if (across == 8 || g.ranges * g.across * width <= kMaxPartialsOfStripe) return g;
  }
}

// The grid of a backward pass with sums.
inline Grid summing_grid(const LayerShape& s, int width) {
  if (are_channels_columns(s)) return grid_of_column_sums(s, width);
  Grid g = make_grid(s.outer, s.inner, width, 1, kThreads, 1);
  const int64_t step = kThreads / g.across, work = ceil_div(s.outer, step);  // rows per thread
  const int64_t most = kMaxSummingBlocks / s.channels > 1 ? kMaxSummingBlocks / s.channels : 1;
  g.span = ceil_div(work, most < work ? most : work) * step;
  g.ranges = ceil_div(s.outer, g.span);
  return g;
}

}  // namespace fastgan::cuda
