// Bias, activation, gain and bound over one chunk [rows, columns]. Included by isa.cpp only; internal linkage.
//
// A plane of one channel is a single row. Leaky ReLUs have loops of their own, which run as fast as memory allows. The
// other forms are computed in blocks, in arrays of the compute type: their code is compiled twice, not for each dtype.
#pragma once

#include "../acts.h"
#include "kernels.h"

namespace fastgan {
namespace {

// x and y may be the same array: equal addresses do not prevent vectorization.
template <class T, bool of_columns>
void bias_leaky(const ActChunk& chunk, const Act& act) {
  using A = compute_t<T>;
  const LeakyAct<A> leaky(act);
  const T* bias = static_cast<const T*>(chunk.bias);
  const A shared = of_columns || bias == nullptr ? A(0) : load(*bias);
  for (int64_t row = 0; row < chunk.rows; ++row) {
    const T* x = static_cast<const T*>(chunk.x) + row * chunk.columns;
    T* y = static_cast<T*>(chunk.y) + row * chunk.columns;
#pragma omp simd
    for (int64_t c = 0; c < chunk.columns; ++c)
      store(&y[c], leaky.value(load(x[c]) + (of_columns ? load(bias[c]) : shared)));
  }
}

template <class T>
double leaky_grad_rows(const ActGradChunk& chunk, const Act& act) {
  using A = compute_t<T>;
  const LeakyAct<A> leaky(act);
  A* __restrict sums = static_cast<A*>(chunk.sums);
  for (int64_t row = 0; row < chunk.rows; ++row) {
    const T* dy = static_cast<const T*>(chunk.dy) + row * chunk.columns;
    const T* y = static_cast<const T*>(chunk.saved) + row * chunk.columns;
    T* dx = static_cast<T*>(chunk.dx) + row * chunk.columns;
#pragma omp simd
    for (int64_t c = 0; c < chunk.columns; ++c) {
      const A gradient = leaky.gradient(load(dy[c]), load(y[c]));
      store(&dx[c], gradient);
      sums[c] += gradient;
    }
  }
  return 0;
}

template <class T>
double leaky_grad_plane(const ActGradChunk& chunk, const Act& act) {
  using A = compute_t<T>;
  const LeakyAct<A> leaky(act);
  const T* dy = static_cast<const T*>(chunk.dy);
  const T* y = static_cast<const T*>(chunk.saved);
  T* dx = static_cast<T*>(chunk.dx);
  double total = 0;
  for (int64_t start = 0; start < chunk.columns; start += 1024) {  // float sums of 1024 terms, added up in double
    const int64_t end = start + 1024 < chunk.columns ? start + 1024 : chunk.columns;
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = start; i < end; ++i) {
      const A gradient = leaky.gradient(load(dy[i]), load(y[i]));
      store(&dx[i], gradient);
      sum += gradient;
    }
    total += static_cast<double>(sum);
  }
  return total;
}

// --- other forms

// Elements of a block: whole narrow rows, or a part of a row.
constexpr int64_t kActBlock = 4 * kLanes;

// Calls body(start, column, rows, columns) for blocks of a chunk: [rows, columns] contiguous elements from `start` on,
// the first one in this column.
template <class Body>
void for_each_block(int64_t rows, int64_t columns, const Body& body) {
  if (columns == 0) return;
  const int64_t each = columns < kActBlock ? kActBlock / columns : 1;
  for (int64_t row = 0; row < rows; row += each)
    for (int64_t column = 0; column < columns; column += kActBlock)
      body(row * columns + column, column, rows - row < each ? rows - row : each,
           columns - column < kActBlock ? columns - column : kActBlock);
}

template <class T, class A>
void load_block(const T* from, int64_t count, A* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] = load(from[i]);
}

template <class T, class A>
void store_block(const A* from, int64_t count, T* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) store(&to[i], from[i]);
}

// Adds the bias, of columns or of the plane, if it is not null.
template <bool of_columns, class T, class A>
void add_bias(const T* bias, int64_t rows, int64_t columns, A* z) {
  if (bias == nullptr) return;
  for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) z[row * columns + c] += load(bias[of_columns ? c : 0]);
}

// The following functions compute whole groups of kLanes: arrays are longer than `count`, and what is behind is ignored.

template <class Known, class A>
__attribute__((noinline)) void act_block(const Known& act, A* z, int64_t count) {
  for (int64_t start = 0; start < count; start += kLanes)
#pragma omp simd
    for (int64_t i = start; i < start + kLanes; ++i) z[i] = act.value(z[i]);
}

template <class Known, class A>
__attribute__((noinline)) void act_grad_block(const Known& act, const A* saved, A* gradient, int64_t count) {
  for (int64_t start = 0; start < count; start += kLanes)
#pragma omp simd
    for (int64_t i = start; i < start + kLanes; ++i) gradient[i] = act.gradient(gradient[i], saved[i]);
}

template <class Known, class A>
__attribute__((noinline)) void act_curved_block(const Known& act, const A* cotangent, const A* saved, A* gradient,
                                                int64_t count) {
  for (int64_t start = 0; start < count; start += kLanes)
#pragma omp simd
    for (int64_t i = start; i < start + kLanes; ++i) gradient[i] = act.curved(cotangent[i], gradient[i], saved[i]);
}

template <class A>
void activate_block(const AnyAct<A>& act, A* z, int64_t count) {
  act.with_form([&](const auto& known) { act_block(known, z, count); });
}

// cotangent: null in a first derivative.
template <class A>
void differentiate_block(const AnyAct<A>& act, const A* cotangent, const A* saved, A* gradient, int64_t count) {
  act.with_form([&](const auto& known) {
    cotangent == nullptr ? act_grad_block(known, saved, gradient, count)
                         : act_curved_block(known, cotangent, saved, gradient, count);
  });
}

template <class T, bool of_columns>
void bias_act(const ActChunk& chunk, const Act& act) {
  using A = compute_t<T>;
  const T* bias = static_cast<const T*>(chunk.bias);
  const AnyAct<A> any(act);
  A z[kActBlock] = {};
  for_each_block(chunk.rows, chunk.columns, [&](int64_t start, int64_t column, int64_t rows, int64_t columns) {
    load_block(static_cast<const T*>(chunk.x) + start, rows * columns, z);
    add_bias<of_columns>(of_columns ? bias + column : bias, rows, columns, z);
    activate_block(any, z, rows * columns);
    store_block(z, rows * columns, static_cast<T*>(chunk.y) + start);
  });
}

template <class T, bool of_columns>
double act_grad(const ActGradChunk& chunk, const Act& act) {
  using A = compute_t<T>;
  const T* bias = static_cast<const T*>(chunk.bias);
  const T* cotangents = static_cast<const T*>(chunk.cotangent);
  A* __restrict sums = static_cast<A*>(chunk.sums);
  const AnyAct<A> any(act);
  A gradient[kActBlock] = {}, saved[kActBlock] = {}, cotangent[kActBlock] = {};
  double total = 0;
  for_each_block(chunk.rows, chunk.columns, [&](int64_t start, int64_t column, int64_t rows, int64_t columns) {
    const int64_t count = rows * columns;
    load_block(static_cast<const T*>(chunk.dy) + start, count, gradient);
    load_block(static_cast<const T*>(chunk.saved) + start, count, saved);
    add_bias<of_columns>(of_columns && bias != nullptr ? bias + column : bias, rows, columns, saved);
    if (cotangents != nullptr) load_block(cotangents + start, count, cotangent);
    differentiate_block(any, cotangents == nullptr ? nullptr : cotangent, saved, gradient, count);
    store_block(gradient, count, static_cast<T*>(chunk.dx) + start);
    if (of_columns) {
      if (sums == nullptr) return;
      for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c) sums[column + c] += gradient[row * columns + c];
    } else {
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < count; ++i) sum += gradient[i];
      total += static_cast<double>(sum);
    }
  });
  return total;
}

}  // namespace
}  // namespace fastgan
