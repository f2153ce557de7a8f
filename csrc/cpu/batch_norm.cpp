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

template <class A>
std::vector<A> loaded(PerChannel numbers, int64_t channels, A otherwise) {
  std::vector<A> values(static_cast<size_t>(channels), otherwise);
  if (numbers.at == nullptr) return values;
  if (numbers.dtype == (sizeof(A) == 8 ? DType::f64 : DType::f32)) {
    const A* from = static_cast<const A*>(numbers.at);
    std::copy(from, from + channels, values.begin());
    return values;
  }
  for (int64_t c = 0; c < channels; ++c)
    values[c] = static_cast<A>(load_element(advance(numbers.at, c, numbers.dtype), numbers.dtype));
  return values;
}

// One number for each column of a matrix, or for each channel of planes.
template <class A>
std::vector<A> spread(std::vector<A> numbers, const Layout& l) {
  if (!l.is_rows || l.each == 1) return numbers;
  std::vector<A> columns(static_cast<size_t>(l.columns));
  for (int64_t c = 0; c < l.channels; ++c)
    std::fill_n(columns.begin() + c * l.each, l.each, numbers[c]);
  return columns;
}

template <class A>
struct Normalization {
  std::vector<double> inverse;  // 1 / standard deviation of each channel
  std::vector<A> mean, factor, bias;
  Normalization(const Layout& l, const BatchNormCall& call)
      : inverse(static_cast<size_t>(l.channels)), mean(spread(loaded(call.mean, l.channels, A(0)), l)),
        factor(loaded(call.weight, l.channels, A(1))), bias(spread(loaded(call.bias, l.channels, A(0)), l)) {
    const std::vector<A> var = loaded(call.var, l.channels, A(1));
    for (size_t c = 0; c < inverse.size(); ++c) {
      inverse[c] = 1 / std::sqrt(static_cast<double>(var[c]) + call.eps);
      factor[c] = static_cast<A>(static_cast<double>(factor[c]) * inverse[c]);
    }
    factor = spread(std::move(factor), l);
  }
};

// A part of a matrix, or of a plane.
template <class A>
NormChunk chunk_of(const LayerShape& s, const Normalization<A>& n, int64_t start, int64_t rows, int64_t columns,
                   int64_t stride, int64_t place, const void* dy, const void* x, void* output) {
  return {advance(x, start, s.dtype), advance(dy, start, s.dtype), advance(output, start, s.dtype),
          rows, columns, stride, &n.mean[place], &n.factor[place], &n.bias[place], nullptr, nullptr, s.negative_slope};
}

// Calls visit(kernel's chunk, place of its numbers, index of its first partial result) for all parts.
template <class A, class Visit>
void for_each_part(const Layout& l, const LayerShape& s, const Normalization<A>& n, const void* dy, const void* x,
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

template <class A>
void forward(const BatchNormCall& call, const void* x, void* y) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  const Normalization<A> numbers(l, call);
  const auto& table = l.is_rows ? kernels().norm_leaky_relu_rows : kernels().norm_leaky_relu_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  for_each_part(l, s, numbers, nullptr, x, y, [&](const NormChunk& chunk, int64_t, int64_t) { kernel(chunk); });
}

// The sums of g and of g * (x - mean) for each channel.
template <class A>
Partials grad_sums(const Layout& l, const LayerShape& s, const Normalization<A>& numbers, const void* dy,
                   const void* x) {
  Partials found(l.is_rows ? Tiles(l).down * l.columns : Planes(l).count), total(l.channels);
  const auto& table = l.is_rows ? kernels().norm_grad_sums_rows : kernels().norm_grad_sums_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  for_each_part(l, s, numbers, dy, x, nullptr, [&](const NormChunk& chunk, int64_t, int64_t index) {
    kernel(chunk, &found.first[index], &found.second[index]);
  });
  for_each_partial(l, [&](int64_t index, int64_t channel, int64_t) {
    total.first[channel] += found.first[index];
    total.second[channel] += found.second[index];
  });
  return total;
}

template <class A>
void backward(const BatchNormCall& call, const void* dy, const void* x, bool training, void* dx, PerChannel dweight,
              PerChannel dbias) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  const Normalization<A> numbers(l, call);
  std::vector<A> of_centered(static_cast<size_t>(l.channels), A(0)), constant(of_centered);
  if (training || dweight.at != nullptr || dbias.at != nullptr) {
    const Partials sums = grad_sums(l, s, numbers, dy, x);
    const std::vector<A> weight = loaded(call.weight, l.channels, A(1));
    const double share = -1.0 / static_cast<double>(std::max<int64_t>(l.outer * l.inner, 1));
    for (int64_t c = 0; c < l.channels; ++c) {
      const double inverse = numbers.inverse[c], scaled = static_cast<double>(weight[c]) * inverse;
      const double product = sums.second[c] * inverse;
      if (dweight.at != nullptr) store_element(advance(dweight.at, c, dweight.dtype), dweight.dtype, product);
      if (dbias.at != nullptr) store_element(advance(dbias.at, c, dbias.dtype), dbias.dtype, sums.first[c]);
      of_centered[c] = static_cast<A>(share * scaled * inverse * product);
      constant[c] = static_cast<A>(share * scaled * sums.first[c]);
    }
  }
  if (dx == nullptr) return;
  of_centered = spread(std::move(of_centered), l);
  constant = spread(std::move(constant), l);
  const auto kernel = (l.is_rows ? kernels().norm_grad_rows : kernels().norm_grad_plane)[static_cast<int>(s.dtype)];
  for_each_part(l, s, numbers, dy, x, dx, [&](NormChunk chunk, int64_t place, int64_t) {
    chunk.of_centered = training ? &of_centered[place] : nullptr;
    chunk.constant = training ? &constant[place] : nullptr;
    kernel(chunk);
  });
}

}  // namespace

void batch_norm_statistics(const LayerShape& s, const void* x, void* mean, void* var, PerChannel running_mean,
                           PerChannel running_var, double momentum) {
  const Layout l(s);
  const DType dtype = compute_type(s.dtype);
  const auto count = static_cast<double>(l.outer * l.inner);
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
  advise_huge_pages(y, Layout(s).elements() * bytes_of(s.dtype));
  s.dtype == DType::f64 ? forward<double>(call, x, y) : forward<float>(call, x, y);
}

void batch_norm_leaky_relu_backward(const BatchNormCall& call, const void* dy, const void* x, bool training, void* dx,
                                    PerChannel dweight, PerChannel dbias) {
  const LayerShape& s = call.shape;
  if (dx != nullptr) advise_huge_pages(dx, Layout(s).elements() * bytes_of(s.dtype));
  const auto run = s.dtype == DType::f64 ? backward<double> : backward<float>;
  run(call, dy, x, training, dx, dweight, dbias);
}

}  // namespace fastgan
