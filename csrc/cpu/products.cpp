#include "products.h"

#include <algorithm>
#include <vector>

#include "../acts.h"
#include "bias_act.h"
#include "parallel.h"

namespace fastgan {
namespace {

constexpr int64_t kMultiplyAddsPerLogit = 16;  // multiply-adds in the time of one logit: see parallel.h
constexpr int64_t kPiecesPerThread = 3;  // small pieces, so that a thread on a busy core delays the others less
constexpr int64_t kScratch = (kProductPanel + kRowBlock) * kDepthBlock;

// Buffers are kept between calls, one for each use and thread: an allocation takes as long as a small product.
float* grown(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  return buffer.data();
}

}  // namespace

// Divides panels of columns among threads. The split does not affect the results.
void multiply(const Product& p, Where threads) {
  const int64_t panels = (p.columns + kProductPanel - 1) / kProductPanel;
  // if A must be packed, every piece packs all of it: one piece per thread
  const int64_t per_thread = p.a_column == 1 && p.a_scale == nullptr ? kPiecesPerThread : 1;
  const int64_t pieces = std::min<int64_t>(threads == 1 ? 1 : per_thread * static_cast<int64_t>(threads), panels);
  for_each_piece(pieces, p.rows * p.columns * p.depth / kMultiplyAddsPerLogit, threads, [&](int64_t piece) {
    // larger pieces first, so that the last one taken is small
    const int64_t before = panels / pieces * piece + std::min(piece, panels % pieces);
    const int64_t count = panels / pieces + (piece < panels % pieces ? 1 : 0);
    const int64_t first = before * kProductPanel;
    const int64_t end = std::min((before + count) * kProductPanel, p.columns);
    multiply_here(p, first, end - first);
  });
}

void multiply_here(const Product& p, int64_t first_column, int64_t columns) {
  thread_local std::vector<float> buffer;
  kernels().multiply(p, first_column, columns, grown(buffer, kScratch));
}

Product row_sums(const float* matrix, int64_t rows, int64_t columns, const float* scale, float* sums) {
  static constexpr float one = 1;
  const bool scaled = scale != nullptr;
  return {1, columns, rows, scaled ? scale : &one, 1, scaled ? 1 : 0, matrix, columns, 1, sums, columns};
}

void hot_gradient(const HotGradient& g, int64_t first, int64_t last) {
  thread_local std::vector<float> buffer;
  const int64_t width = last - first, blocks = depth_blocks(g.rows), each = (g.rows + blocks - 1) / blocks;
  float* const sums = grown(buffer, g.columns * width);  // [columns, width]: dw's rows are contiguous in the columns
  for (int64_t block = 0; block < blocks; ++block) {
    std::fill_n(sums, g.columns * width, 0.0f);
    for (int64_t row = block * each; row < std::min(g.rows, (block + 1) * each); ++row) {
      const float* from = g.dz + row * g.features + first;
      float* to = sums + g.hot[row] * width;
      for (int64_t i = 0; i < width; ++i) to[i] += from[i];
    }
    for (int64_t i = 0; i < width; ++i) {
      float* to = g.dw + (first + i) * g.dw_row;
      for (int64_t c = 0; c < g.columns; ++c) to[c] = (block == 0 ? 0 : to[c]) + sums[c * width + i];
    }
  }
}

void linear_forward(const Linear& l, const float* bias, float* y) {
  Product p{l.n, l.m, l.k, l.x, l.k, 1, l.w, 1, l.k, y, l.m};
  p.bias = bias;
  p.activate = l.act.alpha != 1;
  p.negative_slope = static_cast<float>(l.act.alpha);
  p.gain = static_cast<float>(l.act.gain);
  p.bound = bound_of<float>(l.act);
  multiply(p, l.threads);
}

void linear_backward(const Linear& l, const float* dy, const float* y, float* dx, float* dw, float* db) {
  thread_local std::vector<float> buffer;
  float* dz = grown(buffer, l.n * l.m);
  bias_act_backward({DType::f32, l.n, l.m, 1, l.threads}, l.act, {nullptr, dy, y, nullptr, dz, db});
  if (dx != nullptr) multiply({l.n, l.k, l.m, dz, l.m, 1, l.w, l.k, 1, dx, l.k}, l.threads);
  if (dw != nullptr) multiply({l.m, l.k, l.n, dz, 1, l.m, l.x, l.k, 1, dw, l.k}, l.threads);
}

}  // namespace fastgan
