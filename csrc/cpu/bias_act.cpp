// Bias and activation over whole tensors: splits them among threads. As in losses.cpp, partial sums belong to index
// ranges and are added in order, so results do not depend on the number of threads.
#include "bias_act.h"

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

bool is_leaky(const Act& act) { return act.form == ActForm::leaky; }

// A leaky ReLU has half the arithmetic of a loss.
int64_t work(const LayerShape& s, const Act& act) { return is_leaky(act) ? elements(s) / 2 : elements(s); }

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

// The loops for leaky ReLUs do not know second derivatives.
bool is_leaky(const Act& act, const BiasActGrad& g) { return is_leaky(act) && g.cotangent == nullptr; }

// The gradient's arrays from element `start` on, of channels `channel`, ....
ActGradChunk chunk_of(const BiasActGrad& g, DType dtype, int64_t start, int64_t channel, int64_t rows, int64_t columns,
                      void* sums) {
  return {advance(g.cotangent, start, dtype), advance(g.dy, start, dtype),    advance(g.saved, start, dtype),
          advance(g.bias, channel, dtype),    advance(g.dx, start, dtype),    rows, columns, sums};
}

void backward_rows(const LayerShape& s, const Act& act, const BiasActGrad& g) {
  const RowBlocks blocks(s);
  const auto& table = is_leaky(act, g) ? kernels().leaky_grad_rows : kernels().act_grad_rows;
  const auto kernel = table[static_cast<int>(s.dtype)];
  const DType sum_dtype = compute_type(s.dtype);
  std::vector<char> partials(static_cast<size_t>(blocks.count * s.channels * bytes_of(sum_dtype)), 0);
  for_each_piece(blocks.count, work(s, act), s.where, [&](int64_t block) {
    void* sums = advance(partials.data(), block * s.channels, sum_dtype);
    kernel(chunk_of(g, s.dtype, blocks.start(block) * s.channels, 0, blocks.size(block), s.channels, sums), act);
  });
  if (g.grad_bias == nullptr) return;
  if (s.dtype == DType::f64)
    add_blocks(reinterpret_cast<const double*>(partials.data()), blocks.count, s, g.grad_bias);
  else
    add_blocks(reinterpret_cast<const float*>(partials.data()), blocks.count, s, g.grad_bias);
}

void backward_planes(const LayerShape& s, const Act& act, const BiasActGrad& g) {
  const PlaneChunks chunks(s);
  const auto& table = is_leaky(act, g) ? kernels().leaky_grad_plane : kernels().act_grad_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  std::vector<double> partials(static_cast<size_t>(chunks.count));
  for_each_piece(chunks.count, work(s, act), s.where, [&](int64_t piece) {
    const int64_t channel = chunks.plane(piece) % s.channels;
    partials[piece] = kernel(chunk_of(g, s.dtype, chunks.start(piece), channel, 1, chunks.size(piece), nullptr), act);
  });
  if (g.grad_bias == nullptr) return;
  std::vector<double> totals(static_cast<size_t>(s.channels), 0.0);
  for (int64_t piece = 0; piece < chunks.count; ++piece) totals[chunks.plane(piece) % s.channels] += partials[piece];
  for (int64_t c = 0; c < s.channels; ++c) store_element(advance(g.grad_bias, c, s.dtype), s.dtype, totals[c]);
}

}  // namespace

void bias_act(const LayerShape& shape, const Act& act, const void* x, const void* bias, void* y) {
  const LayerShape s = simplified(shape, bias != nullptr);
  const KernelTable& table = kernels();
  const int dtype = static_cast<int>(s.dtype);
  advise_huge_pages(y, elements(s) * bytes_of(s.dtype));
  if (bias != nullptr && s.inner == 1) {
    const RowBlocks blocks(s);
    const auto kernel = (is_leaky(act) ? table.bias_leaky_rows : table.bias_act_rows)[dtype];
    for_each_piece(blocks.count, work(s, act), s.where, [&](int64_t block) {
      const int64_t at = blocks.start(block) * s.channels;
      kernel({advance(x, at, s.dtype), bias, advance(y, at, s.dtype), blocks.size(block), s.channels}, act);
    });
    return;
  }
  const PlaneChunks chunks(s);
  const auto kernel = (is_leaky(act) ? table.bias_leaky_plane : table.bias_act_plane)[dtype];
  for_each_piece(chunks.count, work(s, act), s.where, [&](int64_t piece) {
    const int64_t at = chunks.start(piece);
    const void* of_channel = advance(bias, chunks.plane(piece) % s.channels, s.dtype);
    kernel({advance(x, at, s.dtype), of_channel, advance(y, at, s.dtype), 1, chunks.size(piece)}, act);
  });
}

void bias_act_backward(const LayerShape& shape, const Act& act, const BiasActGrad& grad) {
  const bool by_channel = grad.grad_bias != nullptr || grad.bias != nullptr;
  const LayerShape s = simplified(shape, by_channel);
  advise_huge_pages(grad.dx, elements(s) * bytes_of(s.dtype));
  by_channel && s.inner == 1 ? backward_rows(s, act, grad) : backward_planes(s, act, grad);
}

}  // namespace fastgan
