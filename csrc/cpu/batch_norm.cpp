// Batch norm + leaky ReLU over whole tensors. As in losses.cpp, partial results belong to index ranges and are combined
// in order.
#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// A tensor as a matrix whose columns have one channel each, or as planes. Short planes are rows too: [outer, channels,
// inner] is a matrix of channels * inner columns, and `each` columns in a row have the same channel. The columns may be
// some of a wider matrix: rows are then divided as for all of its `stride` columns.
struct Layout {
  int64_t outer, channels, inner;
  bool is_rows;
  int64_t rows, columns, each, stride;
  explicit Layout(const LayerShape& s)
      : outer(s.outer), channels(s.channels), inner(s.inner), is_rows(inner == 1 || (inner < 64 && outer >= 8)),
        rows(outer), columns(channels * inner), each(inner), stride(columns) {}
  Layout(const LayerShape& some, int64_t all_columns) : Layout(some) { stride = all_columns; }
  int64_t elements() const { return rows * columns; }
  int64_t work() const { return elements() / 2; }  // half the arithmetic of a loss
};

// A matrix in tiles of rows and columns. Each column of a tile has a partial result: few, compared with the tile.
struct Tiles {
  int64_t rows, columns, stride, rows_each, across, down;
  explicit Tiles(const Layout& l) : rows(l.rows), columns(l.columns), stride(l.stride), across(tiles_of(columns)) {
    const int64_t most = std::max<int64_t>(64 / std::max<int64_t>(tiles_of(stride), 1), 1);
    const int64_t wanted = std::clamp<int64_t>(rows * stride / (8 * kChunk), 1, most);
    rows_each = std::max<int64_t>((rows + wanted - 1) / wanted, 1);
    down = (rows + rows_each - 1) / rows_each;
  }
  static int64_t tiles_of(int64_t columns) { return (columns + kNormColumns - 1) / kNormColumns; }
  int64_t count() const { return across * down; }
  int64_t partials() const { return columns * down; }
  int64_t row(int64_t tile) const { return tile / across * rows_each; }
  int64_t column(int64_t tile) const { return tile % across * kNormColumns; }
  int64_t height(int64_t tile) const { return std::min(rows_each, rows - row(tile)); }
  int64_t width(int64_t tile) const { return std::min(kNormColumns, columns - column(tile)); }
  int64_t start(int64_t tile) const { return row(tile) * stride + column(tile); }
  int64_t partial(int64_t tile) const { return tile / across * columns + column(tile); }
};

// Planes in chunks, with a partial result each; a piece of work has several if they are short.
struct Planes {
  int64_t inner, channels, chunks_each, partials, per_piece;
  explicit Planes(const Layout& l)
      : inner(l.inner), channels(l.channels), chunks_each(chunks_of(inner)),
        partials(l.outer * l.channels * chunks_each),
        per_piece(std::max<int64_t>(kChunk / std::max<int64_t>(inner, 1), 1)) {}
  int64_t count() const { return (partials + per_piece - 1) / per_piece; }
  int64_t channel(int64_t chunk) const { return chunk / chunks_each % channels; }
  int64_t start(int64_t chunk) const { return chunk / chunks_each * inner + chunk % chunks_each * kChunk; }
  int64_t size(int64_t chunk) const { return std::min(kChunk, inner - chunk % chunks_each * kChunk); }
};

// A part of a tensor: [rows, columns], of one row in a plane.
struct Part {
  int64_t start, rows, columns, stride;
  int64_t row;      // its first; 0 in a plane
  int64_t place;    // of the numbers of its first column, or of its channel
  int64_t partial;  // index of its first partial result
};

// Calls visit(part) for all parts of a tensor.
template <class Visit>
void for_each_part(const Layout& l, Where threads, const Visit& visit) {
  if (l.elements() == 0) return;
  if (l.is_rows) {
    const Tiles t(l);
    for_each_piece(t.count(), l.work(), threads, [&](int64_t tile) {
      visit(Part{t.start(tile), t.height(tile), t.width(tile), t.stride, t.row(tile), t.column(tile), t.partial(tile)});
    });
    return;
  }
  const Planes p(l);
  for_each_piece(p.count(), l.work(), threads, [&](int64_t piece) {
    const int64_t end = std::min(p.partials, (piece + 1) * p.per_piece);
    for (int64_t chunk = piece * p.per_piece; chunk < end; ++chunk)
      visit(Part{p.start(chunk), 1, p.size(chunk), 0, 0, p.channel(chunk), chunk});
  });
}

// Two numbers for each partial result.
struct Partials {
  std::vector<double> first, second;
  explicit Partials(int64_t count) : first(static_cast<size_t>(count)), second(static_cast<size_t>(count)) {}
  explicit Partials(const Layout& l) : Partials(l.is_rows ? Tiles(l).partials() : Planes(l).partials) {}
};

// Calls visit(index, channel, values) for every partial result, in order, with the number of values behind it.
template <class Visit>
void for_each_partial(const Layout& l, const Visit& visit) {
  if (l.elements() == 0) return;
  if (l.is_rows) {
    const Tiles t(l);
    for (int64_t down = 0; down < t.down; ++down) {
      const int64_t height = t.height(down * t.across);
      int64_t index = down * t.columns;
      for (int64_t channel = 0; channel < l.channels; ++channel)
        for (int64_t i = 0; i < l.each; ++i) visit(index++, channel, height);
    }
    return;
  }
  const Planes p(l);
  for (int64_t chunk = 0; chunk < p.partials; ++chunk) visit(chunk, p.channel(chunk), p.size(chunk));
}

// The mean and the sum of squared deviations of each part.
Partials statistics(const Layout& l, const LayerShape& s, const void* x) {
  const int dtype = static_cast<int>(s.dtype);
  Partials found(l);
  for_each_part(l, s.where, [&](const Part& part) {
    const void* from = advance(x, part.start, s.dtype);
    double *means = &found.first[part.partial], *squares = &found.second[part.partial];
    if (l.is_rows)
      kernels().norm_statistics_rows[dtype](from, part.stride, part.rows, part.columns, means, squares);
    else
      kernels().norm_statistics_plane[dtype](from, part.columns, means, squares);
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

constexpr Rows kNone{nullptr, 0};

// Where a part begins in a matrix whose rows may lie further apart than those of the input.
void* begin_of(const Part& part, Rows matrix, DType dtype) {
  return advance(matrix.at, part.start + part.row * (matrix.stride - part.stride), dtype);
}

template <class A>
NormChunk chunk_of(const Part& part, const BatchNormCall& call, const Normalization<A>& n, Rows dy, const void* x,
                   Rows output) {
  const DType dtype = call.shape.dtype;
  return {advance(x, part.start, dtype), begin_of(part, dy, dtype), begin_of(part, output, dtype),
          part.rows, part.columns, part.stride, dy.stride, output.stride,
          &n.mean[part.place], &n.factor[part.place], &n.bias[part.place],
          nullptr, nullptr, call.negative_slope};
}

template <class A>
void forward(const BatchNormCall& call, const Layout& l, const void* x, Rows y) {
  const LayerShape& s = call.shape;
  const Normalization<A> numbers(l, call);
  const auto& table = l.is_rows ? kernels().norm_leaky_relu_rows : kernels().norm_leaky_relu_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  for_each_part(l, s.where, [&](const Part& part) { kernel(chunk_of(part, call, numbers, kNone, x, y)); });
}

// The sums of g and of g * (x - mean) for each channel.
template <class A>
Partials grad_sums(const Layout& l, const BatchNormCall& call, const Normalization<A>& numbers, Rows dy,
                   const void* x) {
  const LayerShape& s = call.shape;
  Partials found(l), total(l.channels);
  const auto& table = l.is_rows ? kernels().norm_grad_sums_rows : kernels().norm_grad_sums_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  for_each_part(l, s.where, [&](const Part& part) {
    kernel(chunk_of(part, call, numbers, dy, x, kNone), &found.first[part.partial], &found.second[part.partial]);
  });
  for_each_partial(l, [&](int64_t index, int64_t channel, int64_t) {
    total.first[channel] += found.first[index];
    total.second[channel] += found.second[index];
  });
  return total;
}

// dx = factor * g + of_centered * (x - mean) + constant; the last two are 0 in evaluation.
template <class A>
void write_grad(const BatchNormCall& call, const Layout& l, const Normalization<A>& numbers, Rows dy,
                const void* x, bool training, const std::vector<A>& of_centered, const std::vector<A>& constant,
                void* dx) {
  const LayerShape& s = call.shape;
  const auto& table = l.is_rows ? kernels().norm_grad_rows : kernels().norm_grad_plane;
  const auto kernel = table[static_cast<int>(s.dtype)];
  for_each_part(l, s.where, [&](const Part& part) {
    NormChunk chunk = chunk_of(part, call, numbers, dy, x, {dx, l.stride});
    if (training) {
      chunk.of_centered = &of_centered[part.place];
      chunk.constant = &constant[part.place];
    }
    kernel(chunk);
  });
}

template <class A>
void backward(const BatchNormCall& call, const Layout& l, Rows dy, const void* x, bool training, void* dx,
              PerChannel dweight, PerChannel dbias) {
  const Normalization<A> numbers(l, call);
  std::vector<A> of_centered(static_cast<size_t>(l.channels)), constant(of_centered);
  if (training || dweight.at != nullptr || dbias.at != nullptr) {
    const Partials sums = grad_sums(l, call, numbers, dy, x);
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
  if (dx != nullptr)
    write_grad(call, l, numbers, dy, x, training, spread(std::move(of_centered), l), spread(std::move(constant), l),
               dx);
}

void write_statistics(const LayerShape& s, const Layout& l, const void* x, void* mean, void* var,
                      PerChannel running_mean, PerChannel running_var, double momentum) {
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

PerChannel columns_of(PerChannel numbers, int64_t first) {
  return {static_cast<float*>(numbers.at) + first, DType::f32};
}

BatchNormCall columns_of(const BatchNormCall& call, int64_t first, int64_t last) {
  const LayerShape some{DType::f32, call.shape.outer, last - first, 1, 1};
  return {some, columns_of(call.mean, first), columns_of(call.var, first), columns_of(call.weight, first),
          columns_of(call.bias, first), call.eps, call.negative_slope};
}

Rows columns_of(Rows matrix, int64_t first) { return {static_cast<float*>(matrix.at) + first, matrix.stride}; }

}  // namespace

void batch_norm_statistics(const LayerShape& s, const void* x, void* mean, void* var, PerChannel running_mean,
                           PerChannel running_var, double momentum) {
  write_statistics(s, Layout(s), x, mean, var, running_mean, running_var, momentum);
}

void batch_norm_leaky_relu(const BatchNormCall& call, const void* x, Rows y) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  advise_huge_pages(y.at, l.elements() * bytes_of(s.dtype));
  s.dtype == DType::f64 ? forward<double>(call, l, x, y) : forward<float>(call, l, x, y);
}

void batch_norm_leaky_relu_backward(const BatchNormCall& call, Rows dy, const void* x, bool training, void* dx,
                                    PerChannel dweight, PerChannel dbias) {
  const LayerShape& s = call.shape;
  const Layout l(s);
  if (dx != nullptr) advise_huge_pages(dx, l.elements() * bytes_of(s.dtype));
  const auto run = s.dtype == DType::f64 ? backward<double> : backward<float>;
  run(call, l, dy, x, training, dx, dweight, dbias);
}

void batch_norm_columns(const BatchNormCall& call, const float* x, Rows y, PerChannel running_mean,
                        PerChannel running_var, double momentum, int64_t first, int64_t last) {
  const BatchNormCall some = columns_of(call, first, last);
  const Layout l(some.shape, call.shape.channels);
  write_statistics(some.shape, l, x + first, some.mean.at, some.var.at, columns_of(running_mean, first),
                   columns_of(running_var, first), momentum);
  forward<float>(some, l, x + first, columns_of(y, first));
}

void batch_norm_backward_columns(const BatchNormCall& call, Rows dy, const float* x, float* dx, PerChannel dweight,
                                 PerChannel dbias, int64_t first, int64_t last) {
  const BatchNormCall some = columns_of(call, first, last);
  const Layout l(some.shape, call.shape.channels);
  backward<float>(some, l, columns_of(dy, first), x + first, true, dx + first, columns_of(dweight, first),
                  columns_of(dbias, first));
}

}  // namespace fastgan
