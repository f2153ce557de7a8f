// L1 distances over one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstring>

#include "kernels.h"

namespace fastgan {
namespace {

// The gradient of x; with a negated scale, that of y.
template <class T>
FASTGAN_HD void slopes(const T* __restrict x, const T* __restrict y, const T* __restrict incoming, T* __restrict grad,
                       int64_t size, compute_t<T> scale) {
  if (incoming == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) store(&grad[i], scale * sign(load(x[i]) - load(y[i])));
  } else {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) store(&grad[i], scale * load(incoming[i]) * sign(load(x[i]) - load(y[i])));
  }
}

// Copies a row past the caches: an ordinary store first reads the cache line that it overwrites.
template <class T>
FASTGAN_HD void stream_row(T* to, const T* row) {
#if defined(__SSE2__)
  const auto* from = reinterpret_cast<const __m128i*>(row);
  for (size_t i = 0; i < kLanes * sizeof(T) / sizeof(__m128i); ++i)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to) + i, _mm_load_si128(from + i));
#else
  memcpy(to, row, kLanes * sizeof(T));
#endif
}

// Processes up to kLanes elements at a time, which stay in registers or L1 for the sum and both gradients.
template <class T, bool kSum, bool kGrad>
double visit_rows(const L1Chunk& c) {
  using A = compute_t<T>;
  const T *x = static_cast<const T*>(c.x), *y = static_cast<const T*>(c.y);
  const T* incoming = static_cast<const T*>(c.incoming);
  T *dx = static_cast<T*>(c.dx), *dy = static_cast<T*>(c.dy);
  const A scale = static_cast<A>(c.scale);
  A sums[kLanes] = {};  // of at most 256 terms each: few enough for float
  alignas(16) T row[kLanes];
  for (int64_t at = 0; at < c.size; at += kLanes) {
    const int64_t lanes = c.size - at < kLanes ? c.size - at : kLanes;
    if (kSum) {
#pragma omp simd
      for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += absolute(load(x[at + lane]) - load(y[at + lane]));
    }
    if (!kGrad) continue;
    const auto write_slopes = [&](T* grad, A factor) {
      if (grad == nullptr) return;
      const bool streamed = c.streamed && lanes == kLanes;
      slopes(x + at, y + at, incoming == nullptr ? nullptr : incoming + at, streamed ? row : grad + at, lanes, factor);
      if (streamed) stream_row(grad + at, row);
    };
    write_slopes(dx, scale);
    write_slopes(dy, -scale);
  }
#if defined(__SSE2__)
  if (kGrad && c.streamed) _mm_sfence();  // streamed stores are visible to other threads only after a fence
#endif
  double total = 0;
  for (const A sum : sums) total += static_cast<double>(sum);
  return total;
}

template <class T>
double l1_sum(const L1Chunk& c) {
  return visit_rows<T, true, false>(c);
}

template <class T>
double l1_sum_and_grad(const L1Chunk& c) {
  return visit_rows<T, true, true>(c);
}

template <class T>
void l1_grad(const L1Chunk& c) {
  visit_rows<T, false, true>(c);
}

template <class T>
void l1_terms(const L1Chunk& c, void* terms_) {
  const T* __restrict x = static_cast<const T*>(c.x);
  const T* __restrict y = static_cast<const T*>(c.y);
  T* __restrict terms = static_cast<T*>(terms_);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) store(&terms[i], absolute(load(x[i]) - load(y[i])));
}

}  // namespace
}  // namespace fastgan
