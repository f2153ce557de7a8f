// tanh and Gumbel-softmax over rows of spans. Included by isa.cpp only; internal linkage.
//
// Spans are too short for loops along a row. So kSpanRows rows are computed side by side: a tile holds one span of
// them, [columns, kSpanRows] in the compute type.
#pragma once

#include "kernels.h"
#include "logarithm.h"

namespace fastgan {
namespace {

struct Span {
  int64_t first, size, place;
};

FASTGAN_HD Span span_at(const SpanTables& tables, int64_t i) {
  const int32_t* row = tables.spans + 3 * i;
  return {row[0], row[1], row[2]};
}

// The column of a condition, and the span that it is in. One out of range counts as the nearest.
struct Target {
  int64_t column, first, size;
};

FASTGAN_HD Target target_of(const SpanTables& tables, int64_t condition) {
  const int64_t most = tables.conditions - 1;
  const int32_t* row = tables.targets + 3 * (condition < 0 ? 0 : condition > most ? most : condition);
  return {row[0] - row[1], row[1], row[2] - row[1]};
}

// -log(-log(u)), with u at least 2^-25; inf for 1, nan above.
template <class A>
FASTGAN_HD A gumbel(A u) {
  const A noise = -log_of_normal(-log_of_normal(u < A(0x1p-25) ? A(0x1p-25) : u));
  return u < A(1) ? noise : u == A(1) ? A(INFINITY) : A(NAN);
}

// Loads a span of some rows. What is behind the last of them is a copy of it.
template <class T, class A>
void load_tile(const T* from, int64_t stride, int64_t rows, int64_t columns, A* tile) {
  for (int64_t row = 0; row < kSpanRows; ++row) {
    const T* own = from + (row < rows ? row : rows - 1) * stride;
    for (int64_t c = 0; c < columns; ++c) tile[c * kSpanRows + row] = load(own[c]);
  }
}

template <class T, class A>
void store_tile(const A* tile, int64_t rows, int64_t columns, T* to, int64_t stride) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < columns; ++c) store(&to[row * stride + c], tile[c * kSpanRows + row]);
}

template <class A>
__attribute__((noinline)) void gumbel_tile(A* tile, int64_t columns) {
  for (int64_t start = 0; start < columns * kSpanRows; start += kSpanRows)
#pragma omp simd
    for (int64_t i = start; i < start + kSpanRows; ++i) tile[i] = gumbel(tile[i]);
}

// The same, with Gumbel noise added. The noise is computed in the order of memory, [kSpanRows, columns] in `drawn`.
template <class T, class A>
void load_noisy_tile(const T* from, const float* noise, int64_t stride, int64_t rows, int64_t columns, A* drawn,
                     A* tile) {
  for (int64_t row = 0; row < kSpanRows; ++row) {
    const float* own = noise + (row < rows ? row : rows - 1) * stride;
    for (int64_t c = 0; c < columns; ++c) drawn[row * columns + c] = own[c];
  }
  gumbel_tile(drawn, columns);
  for (int64_t row = 0; row < kSpanRows; ++row) {
    const T* own = from + (row < rows ? row : rows - 1) * stride;
    for (int64_t c = 0; c < columns; ++c) tile[c * kSpanRows + row] = load(own[c]) + drawn[row * columns + c];
  }
}

template <class A>
__attribute__((noinline)) void tanh_tile(A* tile) {
#pragma omp simd
  for (int64_t row = 0; row < kSpanRows; ++row) tile[row] = hyperbolic_tangent(tile[row]);
}

// Calls visit(begin, end) for blocks of columns that are few enough for a sum in float; sums of blocks are doubles.
template <class Visit>
FASTGAN_HD void for_blocks(int64_t columns, const Visit& visit) {
  constexpr int64_t kBlock = 16;
  for (int64_t begin = 0; begin < columns; begin += kBlock)
    visit(begin, begin + kBlock < columns ? begin + kBlock : columns);
}

// A nan that is not the largest is skipped here, and reaches the sum.
template <class A>
__attribute__((noinline)) void softmax_tile(A* tile, int64_t columns, A inverse) {
  A most[kSpanRows];
  double sum[kSpanRows] = {};
  for (int64_t row = 0; row < kSpanRows; ++row) most[row] = tile[row];
  for (int64_t at = kSpanRows; at < columns * kSpanRows; at += kSpanRows)
#pragma omp simd
    for (int64_t row = 0; row < kSpanRows; ++row) most[row] = tile[at + row] > most[row] ? tile[at + row] : most[row];
  for_blocks(columns, [&](int64_t begin, int64_t end) {
    A part[kSpanRows] = {};
    for (int64_t at = begin * kSpanRows; at < end * kSpanRows; at += kSpanRows)
#pragma omp simd
      for (int64_t row = 0; row < kSpanRows; ++row) {
        tile[at + row] = exp_nonpositive((tile[at + row] - most[row]) * inverse);
        part[row] += tile[at + row];
      }
    for (int64_t row = 0; row < kSpanRows; ++row) sum[row] += part[row];
  });
  A factor[kSpanRows];
  for (int64_t row = 0; row < kSpanRows; ++row) factor[row] = static_cast<A>(1 / sum[row]);
  for (int64_t at = 0; at < columns * kSpanRows; at += kSpanRows)
#pragma omp simd
    for (int64_t row = 0; row < kSpanRows; ++row) tile[at + row] *= factor[row];
}

// Replaces softmax outputs by gradients of the logits.
template <class A>
__attribute__((noinline)) void softmax_grad_tile(A* y, const A* dy, int64_t columns, A inverse) {
  double sum[kSpanRows] = {};
  for_blocks(columns, [&](int64_t begin, int64_t end) {
    A part[kSpanRows] = {};
    for (int64_t at = begin * kSpanRows; at < end * kSpanRows; at += kSpanRows)
#pragma omp simd
      for (int64_t row = 0; row < kSpanRows; ++row) part[row] += y[at + row] * dy[at + row];
    for (int64_t row = 0; row < kSpanRows; ++row) sum[row] += part[row];
  });
  A inner[kSpanRows];
  for (int64_t row = 0; row < kSpanRows; ++row) inner[row] = static_cast<A>(sum[row]);
  for (int64_t at = 0; at < columns * kSpanRows; at += kSpanRows)
#pragma omp simd
    for (int64_t row = 0; row < kSpanRows; ++row)
      y[at + row] = y[at + row] * (dy[at + row] - inner[row]) * inverse;
}

template <class A>
FASTGAN_HD void tanh_grad_tile(A* y, const A* dy) {
  for (int64_t row = 0; row < kSpanRows; ++row) y[row] = dy[row] * (A(1) - y[row] * y[row]);
}

// --- the cross-entropy, row by row: rows have conditions in different spans

// Writes exp(x - largest x) of a span to `to`, which has room for whole groups of kSpanRows. The sum is at least 1.
template <class A>
struct Exponentials {
  A most, sum = 0;
  template <class T>
  Exponentials(const T* x, int64_t size, A* to) : most(load(x[0])) {
    for (int64_t i = 1; i < size; ++i) most = load(x[i]) > most ? load(x[i]) : most;
    for (int64_t i = 0; i < size; ++i) to[i] = load(x[i]) - most;
    for (int64_t start = 0; start < size; start += kSpanRows)
#pragma omp simd
      for (int64_t i = start; i < start + kSpanRows; ++i) to[i] = exp_nonpositive(to[i]);
    for_blocks(size, [&](int64_t begin, int64_t end) {
      A part = 0;
      for (int64_t i = begin; i < end; ++i) part += to[i];
      sum += part;
    });
  }
};

// -log softmax(x)[column]
template <class T, class A>
double cross_entropy(const T* x, const Target& target, A* scratch) {
  const Exponentials<A> all(x + target.first, target.size, scratch);
  return static_cast<double>(log1p_nonnegative(all.sum - A(1)) - (load(x[target.first + target.column]) - all.most));
}

// Adds the gradient of the cross-entropy to a row of the tile of its span.
template <class T, class A>
void add_entropy_grad(const T* x, const Target& target, A of_entropy, A* scratch, A* row) {
  const Exponentials<A> all(x + target.first, target.size, scratch);
  const A share = of_entropy / all.sum;
  for (int64_t c = 0; c < target.size; ++c) row[c * kSpanRows] += scratch[c] * share;
  row[target.column * kSpanRows] -= of_entropy;
}

template <class T>
double span_activations(const SpanChunk& chunk) {
  using A = compute_t<T>;
  const SpanCall& c = chunk.call;
  const A inverse = static_cast<A>(1 / c.temperature);
  A *tile = static_cast<A*>(chunk.tile), *drawn = static_cast<A*>(chunk.other);
  double entropies = 0;
  for (int64_t first = chunk.first; first < chunk.last; first += kSpanRows) {
    const int64_t rows = chunk.last - first < kSpanRows ? chunk.last - first : kSpanRows;
    const T* x = static_cast<const T*>(c.input) + first * c.width;
    const float* noise = c.noise == nullptr ? nullptr : c.noise + first * c.width;
    T* y = static_cast<T*>(c.output.at) + first * c.output.stride;
    for (int64_t s = 0; s < c.tables.count; ++s) {
      const Span span = span_at(c.tables, s);
      if (span.size > 1 && noise != nullptr) {
        load_noisy_tile(x + span.first, noise + span.first, c.width, rows, span.size, drawn, tile);
      } else {
        load_tile(x + span.first, c.width, rows, span.size, tile);
      }
      span.size == 1 ? tanh_tile(tile) : softmax_tile(tile, span.size, inverse);
      store_tile(tile, rows, span.size, y + span.first, c.output.stride);
    }
    if (c.conditions == nullptr) continue;
    for (int64_t row = 0; row < rows; ++row)
      entropies += cross_entropy(x + row * c.width, target_of(c.tables, c.conditions[first + row]), tile);
  }
  return entropies;
}

// Adds the gradient of the cross-entropy to the tile of a span, in the rows that have their condition there.
template <class T, class A>
void add_entropy_grads(const SpanCall& c, const Span& span, int64_t first, int64_t rows, A of_entropy, A* scratch,
                       A* tile) {
  for (int64_t row = 0; row < rows; ++row) {
    const Target target = target_of(c.tables, c.conditions[first + row]);
    if (target.first == span.first)
      add_entropy_grad(static_cast<const T*>(c.input) + (first + row) * c.width, target, of_entropy, scratch,
                       tile + row);
  }
}

template <class T>
void span_grads(const SpanChunk& chunk, const SpanGrad& grad, double of_entropy) {
  using A = compute_t<T>;
  const SpanCall& c = chunk.call;
  const A inverse = static_cast<A>(1 / c.temperature);
  A *tile = static_cast<A*>(chunk.tile), *of_dy = static_cast<A*>(chunk.other);
  for (int64_t first = chunk.first; first < chunk.last; first += kSpanRows) {
    const int64_t rows = chunk.last - first < kSpanRows ? chunk.last - first : kSpanRows;
    const T* y = static_cast<const T*>(c.output.at) + first * c.output.stride;
    const T* dy = static_cast<const T*>(grad.incoming.at) + first * grad.incoming.stride;
    T* dx = static_cast<T*>(grad.input) + first * c.width;
    for (int64_t s = 0; s < c.tables.count; ++s) {
      const Span span = span_at(c.tables, s);
      load_tile(y + span.first, c.output.stride, rows, span.size, tile);
      load_tile(dy + span.first, grad.incoming.stride, rows, span.size, of_dy);
      span.size == 1 ? tanh_grad_tile(tile, of_dy) : softmax_grad_tile(tile, of_dy, span.size, inverse);
      if (span.size > 1 && c.input != nullptr)
        add_entropy_grads<T>(c, span, first, rows, static_cast<A>(of_entropy), of_dy, tile);
      store_tile(tile, rows, span.size, dx + span.first, c.width);
    }
  }
}

}  // namespace
}  // namespace fastgan
