// The reconstruction loss over one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

// The gradient of x; with a negated scale, that of y.
template <class T>
FASTGAN_HD void slopes(const T* __restrict x, const T* __restrict y, const T* __restrict incoming, T* __restrict grad,
                       int64_t size, compute_t<T> scale) {
  if (grad == nullptr) return;
  if (incoming == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) store(&grad[i], scale * sign(load(x[i]) - load(y[i])));
  } else {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) store(&grad[i], scale * load(incoming[i]) * sign(load(x[i]) - load(y[i])));
  }
}

// Processes up to kLanes elements at a time, which stay in registers or L1 for the sum and both gradients.
template <class T, bool kSum, bool kGrad>
double visit_rows(const ReconstructionChunk& c) {
  using A = compute_t<T>;
  const T *x = static_cast<const T*>(c.x), *y = static_cast<const T*>(c.y);
  const T* incoming = static_cast<const T*>(c.incoming);
  T *dx = static_cast<T*>(c.dx), *dy = static_cast<T*>(c.dy);
  const A scale = static_cast<A>(c.scale);
  A sums[kLanes] = {};  // of at most 256 terms each: few enough for float
  for (int64_t at = 0; at < c.size; at += kLanes) {
    const int64_t lanes = c.size - at < kLanes ? c.size - at : kLanes;
    if (kSum) {
#pragma omp simd
      for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += absolute(load(x[at + lane]) - load(y[at + lane]));
    }
    if (!kGrad) continue;
    const T* own = incoming == nullptr ? nullptr : incoming + at;
    slopes(x + at, y + at, own, dx == nullptr ? nullptr : dx + at, lanes, scale);
    slopes(x + at, y + at, own, dy == nullptr ? nullptr : dy + at, lanes, -scale);
  }
  double total = 0;
  for (const A sum : sums) total += static_cast<double>(sum);
  return total;
}

template <class T>
double reconstruction_sum(const ReconstructionChunk& c) {
  return visit_rows<T, true, false>(c);
}

template <class T>
double reconstruction_sum_and_grad(const ReconstructionChunk& c) {
  return visit_rows<T, true, true>(c);
}

template <class T>
void reconstruction_grad(const ReconstructionChunk& c) {
  visit_rows<T, false, true>(c);
}

template <class T>
void reconstruction_terms(const ReconstructionChunk& c, void* terms_) {
  const T* __restrict x = static_cast<const T*>(c.x);
  const T* __restrict y = static_cast<const T*>(c.y);
  T* __restrict terms = static_cast<T*>(terms_);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) store(&terms[i], absolute(load(x[i]) - load(y[i])));
}

}  // namespace
}  // namespace fastgan
