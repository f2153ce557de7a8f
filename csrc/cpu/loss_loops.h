// The losses over one chunk of logits. Included by isa.cpp only; internal linkage.
//
// Logits are read in tiles of kRows x kLanes. A lane multiplies the factors (1 + e) of its column of the tile and
// computes one log1p of the product. The loop over lanes vectorizes.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

constexpr int64_t kRows = 16;  // (1 + e) <= 2, so the product stays under 2^16

template <class A>
struct LaneSums {  // a lane sums at most 256 terms: few enough for float
  A loss[kLanes] = {};
  A output[kLanes] = {};
  A saturated[kLanes] = {};
};

// exp(-|t|), or 0 for a loss without a logarithm.
template <class L, class A>
FASTGAN_HD A exponential_for(A t) {
  if constexpr (L::kLogarithm) return exp_minus_abs(t);
  return A(0);
}

template <class L, class T, bool kStats, bool kGrad>
FASTGAN_HD void sum_tile(const T* __restrict logits, T* __restrict grad, int64_t rows, int64_t lanes,
                         compute_t<T> label, compute_t<T> scale, LaneSums<compute_t<T>>& sums) {
  using A = compute_t<T>;
  A product[kLanes] = {};
  for (int64_t row = 0; row < rows; ++row, logits += kLanes, grad += kGrad ? kLanes : 0) {
    A slope[kLanes];
#pragma omp simd
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const A t = load(logits[lane]);
      const A e = exponential_for<L>(t);
      const AtLogit<A> here = L::at(t, e, label);
      if (L::kLogarithm) product[lane] = product_minus_one(product[lane], e);
      sums.loss[lane] += here.term;
      if (kStats) {
        sums.output[lane] += here.output;
        sums.saturated[lane] += here.saturated;
      }
      if (kGrad) slope[lane] = here.slope;
    }
    if (!kGrad) continue;
#pragma omp simd
    for (int64_t lane = 0; lane < lanes; ++lane) store(&grad[lane], scale * slope[lane]);
  }
  if (!L::kLogarithm) return;
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) sums.loss[lane] += log1p_nonnegative(product[lane]);
}

template <class L, class T, bool kStats, bool kGrad>
LossSums sum_chunk(const LossChunk& c) {
  const T* logits = static_cast<const T*>(c.logits);
  T* grad = static_cast<T*>(c.output);
  const auto label = static_cast<compute_t<T>>(c.label), scale = static_cast<compute_t<T>>(c.scale);
  LaneSums<compute_t<T>> sums;
  int64_t at = 0;
  const auto tile = [&](int64_t rows, int64_t lanes) {
    sum_tile<L, T, kStats, kGrad>(logits + at, kGrad ? grad + at : nullptr, rows, lanes, label, scale, sums);
    at += rows * lanes;
  };
  while (at + kRows * kLanes <= c.size) tile(kRows, kLanes);
  if (at + kLanes <= c.size) tile((c.size - at) / kLanes, kLanes);
  if (at < c.size) tile(1, c.size - at);

  LossSums total;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    total.loss += static_cast<double>(sums.loss[lane]);
    total.output += static_cast<double>(sums.output[lane]);
    total.saturated += static_cast<double>(sums.saturated[lane]);
  }
  return total;
}

template <class T>
LossSums loss_sum(const LossChunk& c) {
  return with_loss(c.loss, [&](auto loss) { return sum_chunk<decltype(loss), T, false, false>(c); });
}

template <class T>
LossSums loss_sum_with_stats(const LossChunk& c) {
  return with_loss(c.loss, [&](auto loss) { return sum_chunk<decltype(loss), T, true, false>(c); });
}

template <class T>
LossSums loss_sum_and_grad(const LossChunk& c) {
  return with_loss(c.loss, [&](auto loss) { return sum_chunk<decltype(loss), T, false, true>(c); });
}

template <class T>
LossSums loss_sum_and_grad_with_stats(const LossChunk& c) {
  return with_loss(c.loss, [&](auto loss) { return sum_chunk<decltype(loss), T, true, true>(c); });
}

template <class L, class T>
void terms_of_chunk(const LossChunk& c) {
  using A = compute_t<T>;
  const T* __restrict logits = static_cast<const T*>(c.logits);
  T* __restrict output = static_cast<T*>(c.output);
  const A label = static_cast<A>(c.label), scale = static_cast<A>(c.scale);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) {
    const A t = load(logits[i]);
    const A e = exponential_for<L>(t);
    const A logarithm = L::kLogarithm ? log1p_nonnegative(e) : A(0);
    store(&output[i], scale * (L::at(t, e, label).term + logarithm));
  }
}

template <class L, class T>
void slopes_of_chunk(const LossChunk& c) {
  using A = compute_t<T>;
  const T* __restrict logits = static_cast<const T*>(c.logits);
  const T* __restrict incoming = static_cast<const T*>(c.incoming);
  T* __restrict output = static_cast<T*>(c.output);
  const A label = static_cast<A>(c.label), scale = static_cast<A>(c.scale);
  if (incoming == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < c.size; ++i) {
      const A t = load(logits[i]);
      store(&output[i], scale * L::at(t, exponential_for<L>(t), label).slope);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < c.size; ++i) {
      const A t = load(logits[i]);
      store(&output[i], scale * load(incoming[i]) * L::at(t, exponential_for<L>(t), label).slope);
    }
  }
}

template <class T>
void loss_terms(const LossChunk& c) {
  with_loss(c.loss, [&](auto loss) { terms_of_chunk<decltype(loss), T>(c); });
}

template <class T>
void loss_grad(const LossChunk& c) {
  with_loss(c.loss, [&](auto loss) { slopes_of_chunk<decltype(loss), T>(c); });
}

}  // namespace
}  // namespace fastgan
