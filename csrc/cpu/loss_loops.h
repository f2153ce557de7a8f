// The loops over one chunk of logits. Included by isa.cpp alone; everything has internal linkage.
//
// The chunk is read in tiles of kRows x kLanes. A lane keeps the product of (1 + e) down its column of
// the tile and takes one log1p for all of it; the loop over lanes is the one that vectorizes.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

constexpr int64_t kRows = 16;  // (1 + e) <= 2, so the product stays under 2^16

template <class A>
struct LaneSums {  // a chunk is sixteen tiles: few enough to add up in float
  A loss[kLanes] = {};
  A sigmoid[kLanes] = {};
  A saturated[kLanes] = {};
};

template <class T, bool kStats, bool kGrad>
FASTGAN_HD void sum_tile(const T* __restrict logits, T* __restrict grad, int64_t rows, int64_t lanes,
                         compute_t<T> label, compute_t<T> scale, LaneSums<compute_t<T>>& sums) {
  using A = compute_t<T>;
  A product[kLanes] = {};
  for (int64_t row = 0; row < rows; ++row, logits += kLanes, grad += kGrad ? kLanes : 0) {
    A slope[kLanes];
#pragma omp simd
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const A t = load(logits[lane]);
      const A e = exp_minus_abs(t);
      product[lane] = product_minus_one(product[lane], e);
      sums.loss[lane] += linear_part(t, label);
      if (kStats) {
        sums.sigmoid[lane] += sigmoid(t, e);
        sums.saturated[lane] += absolute(t) > A(kSaturatedLogit) ? A(1) : A(0);
      }
      if (kGrad) slope[lane] = loss_slope(t, e, label);
    }
    if (!kGrad) continue;
#pragma omp simd
    for (int64_t lane = 0; lane < lanes; ++lane) store(&grad[lane], scale * slope[lane]);
  }
#pragma omp simd
  for (int64_t lane = 0; lane < lanes; ++lane) sums.loss[lane] += log1p_nonnegative(product[lane]);
}

template <class T, bool kStats, bool kGrad>
LossSums sum_chunk(const LossChunk& c) {
  const T* logits = static_cast<const T*>(c.logits);
  T* grad = static_cast<T*>(c.output);
  const auto label = static_cast<compute_t<T>>(c.label), scale = static_cast<compute_t<T>>(c.scale);
  LaneSums<compute_t<T>> sums;
  int64_t at = 0;
  const auto tile = [&](int64_t rows, int64_t lanes) {
    sum_tile<T, kStats, kGrad>(logits + at, kGrad ? grad + at : nullptr, rows, lanes, label, scale, sums);
    at += rows * lanes;
  };
  while (at + kRows * kLanes <= c.size) tile(kRows, kLanes);
  if (at + kLanes <= c.size) tile((c.size - at) / kLanes, kLanes);
  if (at < c.size) tile(1, c.size - at);

  LossSums total;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    total.loss += static_cast<double>(sums.loss[lane]);
    total.sigmoid += static_cast<double>(sums.sigmoid[lane]);
    total.saturated += static_cast<double>(sums.saturated[lane]);
  }
  return total;
}

template <class T>
LossSums loss_sum(const LossChunk& c) {
  return sum_chunk<T, false, false>(c);
}

template <class T>
LossSums loss_sum_with_stats(const LossChunk& c) {
  return sum_chunk<T, true, false>(c);
}

template <class T>
LossSums loss_sum_and_grad(const LossChunk& c) {
  return sum_chunk<T, true, true>(c);
}

template <class T>
void loss_terms(const LossChunk& c) {
  using A = compute_t<T>;
  const T* __restrict logits = static_cast<const T*>(c.logits);
  T* __restrict output = static_cast<T*>(c.output);
  const A label = static_cast<A>(c.label), scale = static_cast<A>(c.scale);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) {
    const A t = load(logits[i]);
    store(&output[i], scale * (linear_part(t, label) + log1p_nonnegative(exp_minus_abs(t))));
  }
}

template <class T>
void loss_grad(const LossChunk& c) {
  using A = compute_t<T>;
  const T* __restrict logits = static_cast<const T*>(c.logits);
  const T* __restrict incoming = static_cast<const T*>(c.incoming);
  T* __restrict output = static_cast<T*>(c.output);
  const A label = static_cast<A>(c.label), scale = static_cast<A>(c.scale);
  if (incoming == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < c.size; ++i) {
      const A t = load(logits[i]);
      store(&output[i], scale * loss_slope(t, exp_minus_abs(t), label));
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < c.size; ++i) {
      const A t = load(logits[i]);
      store(&output[i], scale * load(incoming[i]) * loss_slope(t, exp_minus_abs(t), label));
    }
  }
}

}  // namespace
}  // namespace fastgan
