// The head over one chunk of rows. Included by isa.cpp only; internal linkage.
#pragma once

#include "loss_loops.h"

namespace fastgan {
namespace {

template <class T>
compute_t<T> dot(const T* __restrict h, const compute_t<T>* __restrict weight, int64_t width) {
  compute_t<T> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) sum += load(h[i]) * weight[i];
  return sum;
}

// A row is read twice, for its logit and for the weight's gradient; in between it stays in L1.
template <class L, class T>
LossSums rows_of_head(const HeadChunk& c) {
  using A = compute_t<T>;
  const A* __restrict weight = static_cast<const A*>(c.weight);
  A* __restrict sums = static_cast<A*>(c.sums);
  A* slopes = static_cast<A*>(c.slopes);
  const A bias = static_cast<A>(c.bias), label = static_cast<A>(c.label), scale = static_cast<A>(c.scale);
  LossSums total;
  double slopes_sum = 0;  // double, as slopes of real and generated samples largely cancel
  for (int64_t row = 0; row < c.rows; ++row) {
    const T* __restrict h = static_cast<const T*>(c.features) + row * c.width;
    const A t = dot(h, weight, c.width) + bias;
    const A e = exponential_for<L>(t);
    const AtLogit<A> here = L::at(t, e, label);
    total.loss += static_cast<double>(L::kLogarithm ? here.term + log1p_nonnegative(e) : here.term);
    total.output += static_cast<double>(here.output);
    total.saturated += static_cast<double>(here.saturated);
    if (sums == nullptr) continue;
    const A slope = scale * here.slope;
    if (slopes != nullptr) slopes[row] = slope;
    slopes_sum += static_cast<double>(slope);
#pragma omp simd
    for (int64_t i = 0; i < c.width; ++i) sums[i] += slope * load(h[i]);
    if (c.grad == nullptr) continue;
    T* __restrict grad = static_cast<T*>(c.grad) + row * c.width;
#pragma omp simd
    for (int64_t i = 0; i < c.width; ++i) store(&grad[i], slope * weight[i]);
  }
  if (sums != nullptr) sums[c.width] = static_cast<A>(slopes_sum);
  return total;
}

template <class T>
LossSums head_rows(const HeadChunk& c) {
  return with_loss(c.loss, [&](auto loss) { return rows_of_head<decltype(loss), T>(c); });
}

template <class T>
void head_grad_rows(const HeadChunk& c) {
  using A = compute_t<T>;
  const A* __restrict weight = static_cast<const A*>(c.weight);
  const A scale = static_cast<A>(c.scale);
  for (int64_t row = 0; row < c.rows; ++row) {
    const A slope = scale * static_cast<const A*>(c.slopes)[row];
    T* __restrict grad = static_cast<T*>(c.grad) + row * c.width;
#pragma omp simd
    for (int64_t i = 0; i < c.width; ++i) store(&grad[i], slope * weight[i]);
  }
}

}  // namespace
}  // namespace fastgan
