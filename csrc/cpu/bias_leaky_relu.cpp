// Bias + leaky ReLU over whole tensors: splits them among threads. As in losses.cpp, partial sums belong to index
// ranges and are added in order, so results do not depend on the number of threads.
#include "bias_leaky_relu.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// Blocks of rows of [rows, channels]. At least 16 rows, so that the partial sums of the bias gradient are small
// compared with the data; at most 64, so that a float sum stays short.
struct RowBlocks {
  int64_t rows, each, count;
  explicit RowBlocks(const LayerShape& s)
      : rows(s.outer),
        each(std::clamp<int64_t>(4 * kChunk / std::max<int64_t>(s.channels, 1), 16, 64)),
        count((rows + each - 1) / each) {}
  int64_t start(int64_t block) const { return block * each; }
  int64_t size(int64_t block) const { return std::min(each, rows - block * each); }
};

// Chunks of the planes of [outer, channels, inner], which have `inner` elements each.
struct PlaneChunks {
  int64_t inner, chunks_each, count;
  explicit PlaneChunks(const LayerShape& s)
      : inner(s.inner), chunks_each((s.inner + kChunk - 1) / kChunk), count(s.outer * s.channels * chunks_each) {}
  int64_t plane(int64_t piece) const { return piece / chunks_each; }
  int64_t start(int64_t piece) const { return plane(piece) * inner + piece % chunks_each * kChunk; }
  int64_t size(int64_t piece) const { return std::min(kChunk, inner - piece % chunks_each * kChunk); }
};

int64_t elements(const LayerShape& s) { return s.outer * s.channels * s.inner; }

int64_t work(const LayerShape& s) { return elements(s) / 2; }  // half the arithmetic of a loss

// Without a bias, or with a single channel, the tensor is treated as one plane.
LayerShape simplified(LayerShape s, bool channels_matter) {
  if (!channels_matter || (s.channels == 1 && s.inner == 1)) {
    s.inner = elements(s);
    s.outer = s.channels = 1;
  }
  return s;
}

// grad_bias[c] = sum of partials[block][c] over the blocks
template <class A>
void add_blocks(const A* partials, int64_t blocks, const LayerShape& s, void* grad_bias) {
  std::vector<double> totals(static_cast<size_t>(s.channels), 0.0);
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t c = 0; c < s.channels; ++c) totals[c] += static_cast<double>(partials[block * s.channels + c]);
  for (int64_t c = 0; c < s.channels; ++c) store_element(advance(grad_bias, c, s.dtype), s.dtype, totals[c]);
}

void backward_rows(const LayerShape& s, const void* dy, const void* y, void* dx, void* grad_bias) {
  const RowBlocks blocks(s);
  const auto kernel = kernels().leaky_relu_grad_rows[static_cast<int>(s.dtype)];
  const DType sum_dtype = s.dtype == DType::f64 ? DType::f64 : DType::f32;
  std::vector<char> partials(static_cast<size_t>(blocks.count * s.channels * bytes_of(sum_dtype)), 0);
  for_each_piece(blocks.count, work(s), s.where, [&](int64_t block) {
    const int64_t at = blocks.start(block) * s.channels;
    kernel(advance(dy, at, s.dtype), advance(y, at, s.dtype), advance(dx, at, s.dtype),
           advance(partials.data(), block * s.channels, sum_dtype), blocks.size(block), s.channels, s.negative_slope);
  });
  if (s.dtype == DType::f64)
    add_blocks(reinterpret_cast<const double*>(partials.data()), blocks.count, s, grad_bias);
  else
    add_blocks(reinterpret_cast<const float*>(partials.data()), blocks.count, s, grad_bias);
}

void backward_planes(const LayerShape& s, const void* dy, const void* y, void* dx, void* grad_bias) {
  const PlaneChunks chunks(s);
  const auto kernel = kernels().leaky_relu_grad_plane[static_cast<int>(s.dtype)];
  std::vector<double> partials(static_cast<size_t>(chunks.count));
  for_each_piece(chunks.count, work(s), s.where, [&](int64_t piece) {
    const int64_t at = chunks.start(piece);
    partials[piece] = kernel(advance(dy, at, s.dtype), advance(y, at, s.dtype), advance(dx, at, s.dtype),
                             chunks.size(piece), s.negative_slope);
  });
  if (grad_bias == nullptr) return;
  std::vector<double> totals(static_cast<size_t>(s.channels), 0.0);
  for (int64_t piece = 0; piece < chunks.count; ++piece) totals[chunks.plane(piece) % s.channels] += partials[piece];
  for (int64_t c = 0; c < s.channels; ++c) store_element(advance(grad_bias, c, s.dtype), s.dtype, totals[c]);
}

}  // namespace

void bias_leaky_relu_forward(const LayerShape& shape, const void* x, const void* bias, void* y) {
  const LayerShape s = simplified(shape, bias != nullptr);
  advise_huge_pages(y, elements(s) * bytes_of(s.dtype));
  if (bias != nullptr && s.inner == 1) {
    const RowBlocks blocks(s);
    const auto kernel = kernels().bias_leaky_relu_rows[static_cast<int>(s.dtype)];
    for_each_piece(blocks.count, work(s), s.where, [&](int64_t block) {
      const int64_t at = blocks.start(block) * s.channels;
      kernel(advance(x, at, s.dtype), bias, advance(y, at, s.dtype), blocks.size(block), s.channels, s.negative_slope);
    });
    return;
  }
  const PlaneChunks chunks(s);
  const auto kernel = kernels().bias_leaky_relu_plane[static_cast<int>(s.dtype)];
  for_each_piece(chunks.count, work(s), s.where, [&](int64_t piece) {
    const int64_t at = chunks.start(piece);
    kernel(advance(x, at, s.dtype), advance(bias, chunks.plane(piece) % s.channels, s.dtype), advance(y, at, s.dtype),
           chunks.size(piece), s.negative_slope);
  });
}

void bias_leaky_relu_backward(const LayerShape& shape, const void* dy, const void* y, void* dx, void* grad_bias) {
  const LayerShape s = simplified(shape, grad_bias != nullptr);
  advise_huge_pages(dx, elements(s) * bytes_of(s.dtype));
  if (grad_bias != nullptr && s.inner == 1)
    backward_rows(s, dy, y, dx, grad_bias);
  else
    backward_planes(s, dy, y, dx, grad_bias);
}

}  // namespace fastgan
