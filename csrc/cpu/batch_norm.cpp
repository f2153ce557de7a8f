// Batch norm + leaky ReLU over whole tensors. As in losses.cpp, partial results belong to index ranges and are combined
// in order.
#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// A tensor as a matrix whose columns have one channel each, or as planes. Short planes are rows too: [outer, channels,
// inner] is a matrix of channels * inner columns, and `each` columns in a row have the same channel.
struct Layout {
  int64_t outer, channels, inner;
  bool is_rows;
  int64_t rows, columns, each;
  explicit Layout(const LayerShape& s)
      : outer(s.outer), channels(s.channels), inner(s.inner), is_rows(inner == 1 || (inner < 64 && outer >= 8)),
        rows(outer), columns(channels * inner), each(inner) {}
  int64_t elements() const { return outer * channels * inner; }
  int64_t per_channel() const { return outer * inner; }
};

// A matrix in tiles of rows and columns.
struct Tiles {
  int64_t rows, columns, rows_each, across, down, count;
  explicit Tiles(const Layout& l)
      : rows(l.rows), columns(l.columns), across((columns + kNormColumns - 1) / kNormColumns) {
    const int64_t most = std::max<int64_t>(64 / std::max<int64_t>(across, 1), 1);
    const int64_t wanted = std::clamp<int64_t>(rows * columns / (2 * kChunk), 1, most);
    rows_each = (rows + wanted - 1) / wanted;
    down = rows_each == 0 ? 0 : (rows + rows_each - 1) / rows_each;
    count = across * down;
  }
  int64_t row(int64_t tile) const { return tile / across * rows_each; }
  int64_t column(int64_t tile) const { return tile % across * kNormColumns; }
  int64_t height(int64_t tile) const { return std::min(rows_each, rows - row(tile)); }
  int64_t width(int64_t tile) const { return std::min(kNormColumns, columns - column(tile)); }
};

// Planes in chunks; a piece of work has several if they are short.
struct Planes {
  int64_t inner, channels, chunks_each, count, per_piece;
  explicit Planes(const Layout& l)
      : inner(l.inner), channels(l.channels), chunks_each(chunks_of(inner)),
        count(l.outer * l.channels * chunks_each), per_piece(std::max<int64_t>(kChunk / std::max<int64_t>(inner, 1), 1)) {}
  int64_t channel(int64_t chunk) const { return chunk / chunks_each % channels; }
  int64_t start(int64_t chunk) const { return chunk / chunks_each * inner + chunk % chunks_each * kChunk; }
  int64_t size(int64_t chunk) const { return std::min(kChunk, inner - chunk % chunks_each * kChunk); }
  int64_t pieces() const { return (count + per_piece - 1) / per_piece; }
};

// Calls visit(tile) for all tiles, or visit(chunk) for all chunks of planes.
template <class Visit>
void for_each_tile(const Tiles& tiles, const LayerShape& s, const Visit& visit) {
  for_each_piece(tiles.count, tiles.rows * tiles.columns / 2, s.where, visit);
}
template <class Visit>
void for_each_chunk(const Planes& planes, const LayerShape& s, const Visit& visit) {
  for_each_piece(planes.pieces(), s.outer * s.channels * s.inner / 2, s.where, [&](int64_t piece) {
    const int64_t end = std::min(planes.count, (piece + 1) * planes.per_piece);
    for (int64_t chunk = piece * planes.per_piece; chunk < end; ++chunk) visit(chunk);
  });
}

// Two numbers per column of each row of tiles, or per chunk of planes.
struct Partials {
  std::vector<double> first, second;
  explicit Partials(int64_t count) : first(static_cast<size_t>(count)), second(static_cast<size_t>(count)) {}
};

// Calls visit(index, channel, values) for every partial result, in order, with the number of values behind it.
template <class Visit>
void for_each_partial(const Layout& l, const Visit& visit) {
  if (l.is_rows) {
    const Tiles tiles(l);
    for (int64_t down = 0; down < tiles.down; ++down) {
      const int64_t height = std::min(tiles.rows_each, tiles.rows - down * tiles.rows_each);
      int64_t index = down * tiles.columns;
      for (int64_t channel = 0; channel < l.channels; ++channel)
        for (int64_t i = 0; i < l.each; ++i) visit(index++, channel, height);
    }
    return;
  }
  const Planes planes(l);
  for (int64_t chunk = 0; chunk < planes.count; ++chunk) visit(chunk, planes.channel(chunk), planes.size(chunk));
}

Partials statistics(const Layout& l, const LayerShape& s, const void* x) {
  const int dtype = static_cast<int>(s.dtype);
  if (l.is_rows) {
    const Tiles tiles(l);
    Partials found(tiles.down * tiles.columns);
    for_each_tile(tiles, s, [&](int64_t tile) {
      const int64_t at = tile / tiles.across * tiles.columns + tiles.column(tile);
      kernels().norm_statistics_rows[dtype](advance(x, tiles.row(tile) * tiles.columns + tiles.column(tile), s.dtype),
                                            tiles.columns, tiles.height(tile), tiles.width(tile), &found.first[at],
                                            &found.second[at]);
    });
    return found;
  }
  const Planes planes(l);
  Partials found(planes.count);
  for_each_chunk(planes, s, [&](int64_t chunk) {
    kernels().norm_statistics_plane[dtype](advance(x, planes.start(chunk), s.dtype), planes.size(chunk),
                                           &found.first[chunk], &found.second[chunk]);
  });
  return found;
}

void update(PerChannel running, int64_t channel, double batch, double momentum) {
  if (running.at == nullptr) return;
  void* at = advance(running.at, channel, running.dtype);
  store_element(at, running.dtype, (1 - momentum) * load_element(at, running.dtype) + momentum * batch);
}

double element_or(PerChannel numbers, int64_t channel, double otherwise) {
  return numbers.at == nullptr ? otherwise : load_element(advance(numbers.at, channel, numbers.dtype), numbers.dtype);
}

double inverse_deviation(const BatchNormCall& call, int64_t channel) {
  return 1 / std::sqrt(element_or(call.var, channel, 1) + call.eps);
}

// Numbers in the compute type, one for each column of a matrix or one for each channel of planes.
class Numbers {
 public:
  Numbers(const Layout& l, DType dtype)
      : dtype_(compute_type(dtype)), each_(l.is_rows ? l.each : 1),
        bytes_(static_cast<size_t>(l.channels * each_ * bytes_of(dtype_))) {}
  void set(int64_t channel, double value) {
    for (int64_t i = 0; i < each_; ++i)
      store_element(advance(bytes_.data(), channel * each_ + i, dtype_), dtype_, value);
  }
  const void* at(int64_t place) const { return advance(bytes_.data(), place, dtype_); }

 private:
  DType dtype_;
  int64_t each_;
  std::vector<char> bytes_;
};

struct Normalization {
  Numbers mean, factor, bias;
  Normalization(const Layout& l, const BatchNormCall& call)
      : mean(l, call.shape.dtype), factor(l, call.shape.dtype), bias(l, call.shape.dtype) {
    for (int64_t c = 0; c < l.channels; ++c) {
      mean.set(c, element_or(call.mean, c, 0));
      factor.set(c, element_or(call.weight, c, 1) * inverse_deviation(call, c));
      bias.set(c, element_or(call.bias, c, 0));
    }
  }
};

// A part of a matrix, or of a plane.
NormChunk chunk_of(const LayerShape& s, const Normalization& n, int64_t start, int64_t rows, int64_t columns,
                   int64_t stride, int64_t place, const void* dy, const void* x, void* output) {
  return {advance(x, start, s.dtype), advance(dy, start, s.dtype), advance(output, start, s.dtype),
          rows, columns, stride, n.mean.at(place), n.factor.at(place), n.bias.at(place), nullptr, nullptr,
          s.negative_slope};
}

// Calls visit(kernel's chunk, place of its numbers, index of its first partial result) for all parts.
template <class Visit>
void for_each_part(const Layout& l, const LayerShape& s, const Normalization& n, const void* dy, const void* x,
                   void* output, const Visit& visit) {
  if (l.is_rows) {
    const Tiles tiles(l);
    for_each_tile(tiles, s, [&](int64_t tile) {
      const int64_t column = tiles.column(tile);
      const int64_t start = tiles.row(tile) * tiles.columns + column;
      visit(chunk_of(s, n, start, tiles.height(tile), tiles.width(tile), tiles.columns, column, dy, x, output), column,
            tile / tiles.across * tiles.columns + column);
    });
    return;
  }
  const Planes planes(l);
  for_each_chunk(planes, s, [&](int64_t chunk) {
    const int64_t channel = planes.channel(chunk);
    visit(chunk_of(s, n, planes.start(chunk), 1, planes.size(chunk), 0, channel, dy, x, output), channel, chunk);
  });
}

}  // namespace

void batch_norm_statistics(const LayerShape& s, const void* x, void* mean, void* var, PerChannel running_mean,
                           PerChannel running_var, double momentum) {
  const Layout l(s);
  const DType dtype = compute_type(s.dtype);
  const auto count = static_cast<double>(l.per_channel());
  std::vector<double> means(static_cast<size_t>(l.channels), 0.0), squares(means);
  if (count > 0) {
    const Partials found = statistics(l, s, x);
    for_each_partial(l, [&](int64_t i, int64_t c, int64_t n) { means[c] += static_cast<double>(n) * found.first[i]; });
    for (double& each : means) each /= count;
    for_each_partial(l, [&](int64_t i, int64_t c, int64_t n) {
      const double step = found.first[i] - means[c];
      squares[c] += found.second[i] + static_cast<double>(n) * step * step;
    });
  }
  for (int64_t c = 0; c < l.channels; ++c) {
    store_element(advance(mean, c, dtype), dtype, means[c]);
    store_element(advance(var, c, dtype), dtype, squares[c] / std::max(count, 1.0));
    if (count == 0) continue;
    update(running_mean, c, means[c], momentum);
    update(running_var, c, squares[c] / std::max(count - 1, 1.0), momentum);
  }
}

void batch_norm_leaky_relu(const BatchNormCall& call, const void* x, void* y) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  const Normalization numbers(l, call);
  const auto& table = l.is_rows ? kernels().norm_leaky_relu_rows : kernels().norm_leaky_relu_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  advise_huge_pages(y, l.elements() * bytes_of(s.dtype));
  for_each_part(l, s, numbers, nullptr, x, y, [&](const NormChunk& chunk, int64_t, int64_t) { kernel(chunk); });
}

void batch_norm_leaky_relu_backward(const BatchNormCall& call, const void* dy, const void* x, bool training, void* dx,
                                    PerChannel dweight, PerChannel dbias) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  const Normalization numbers(l, call);
  const int dtype = static_cast<int>(s.dtype);
  std::vector<double> sums(static_cast<size_t>(l.channels), 0.0), of_centered(sums);
  if (training || dweight.at != nullptr || dbias.at != nullptr) {
    Partials found(l.is_rows ? Tiles(l).down * l.columns : Planes(l).count);
    const auto kernel = (l.is_rows ? kernels().norm_grad_sums_rows : kernels().norm_grad_sums_plane)[dtype];
    for_each_part(l, s, numbers, dy, x, nullptr, [&](const NormChunk& chunk, int64_t, int64_t index) {
      kernel(chunk, &found.first[index], &found.second[index]);
    });
    for_each_partial(l, [&](int64_t i, int64_t c, int64_t) {
      sums[c] += found.first[i];
      of_centered[c] += found.second[i];
    });
  }
  Numbers slopes(l, s.dtype), constants(l, s.dtype);
  for (int64_t c = 0; c < l.channels; ++c) {
    const double inverse = inverse_deviation(call, c);
    if (dweight.at != nullptr)
      store_element(advance(dweight.at, c, dweight.dtype), dweight.dtype, of_centered[c] * inverse);
    if (dbias.at != nullptr) store_element(advance(dbias.at, c, dbias.dtype), dbias.dtype, sums[c]);
    if (!training) continue;
    const double share = -element_or(call.weight, c, 1) * inverse / static_cast<double>(std::max<int64_t>(l.per_channel(), 1));
    slopes.set(c, share * inverse * inverse * of_centered[c]);
    constants.set(c, share * sums[c]);
  }
  if (dx == nullptr) return;
  const auto kernel = (l.is_rows ? kernels().norm_grad_rows : kernels().norm_grad_plane)[dtype];
  advise_huge_pages(dx, l.elements() * bytes_of(s.dtype));
  for_each_part(l, s, numbers, dy, x, dx, [&](NormChunk chunk, int64_t place, int64_t) {
    chunk.of_centered = slopes.at(place);
    chunk.constant = constants.at(place);
    kernel(chunk);
  });
}

}  // namespace fastgan
