// The steps of optimizers over one chunk. Included by isa.cpp only; internal linkage.
#pragma once

#include <cmath>

#include "kernels.h"

namespace fastgan {
namespace {

// a * b + c in one form: left to itself, the compiler might contract it in the vector loop and not at its end, and an
// element's bits would depend on its position.
FASTGAN_HD float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

FASTGAN_HD double multiply_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

FASTGAN_HD float root(float x) { return sqrtf(x); }
FASTGAN_HD double root(double x) { return sqrt(x); }

template <class T, bool kDecays>
void adam_chunk(const AdamChunk& c) {
  using A = compute_t<T>;
  T* __restrict values = static_cast<T*>(c.values);
  const T* __restrict grads = static_cast<const T*>(c.grads);
  T* __restrict exp_avg = static_cast<T*>(c.exp_avg);
  T* __restrict exp_avg_sq = static_cast<T*>(c.exp_avg_sq);
  const A beta1 = static_cast<A>(c.beta1), left1 = static_cast<A>(1 - c.beta1);
  const A beta2 = static_cast<A>(c.beta2), left2 = static_cast<A>(1 - c.beta2);
  const A step = static_cast<A>(c.step), eps = static_cast<A>(c.eps), decay = static_cast<A>(c.weight_decay);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) {
    const A value = load(values[i]), own = load(grads[i]);
    const A g = kDecays ? multiply_add(decay, value, own) : own;
    const A m = multiply_add(beta1, load(exp_avg[i]), left1 * g);
    const A v = multiply_add(beta2, load(exp_avg_sq[i]), left2 * g * g);
    store(&exp_avg[i], m);
    store(&exp_avg_sq[i], v);
    store(&values[i], value - step * m / (root(v) + eps));
  }
}

template <class T>
void adam(const AdamChunk& c) {
  c.weight_decay == 0 ? adam_chunk<T, false>(c) : adam_chunk<T, true>(c);
}

template <class T>
void sgd(const SgdChunk& c) {
  using A = compute_t<T>;
  T* __restrict values = static_cast<T*>(c.values);
  const T* __restrict grads = static_cast<const T*>(c.grads);
  T* __restrict velocity = static_cast<T*>(c.velocity);
  const A rate = static_cast<A>(c.learning_rate), momentum = static_cast<A>(c.momentum);
#pragma omp simd
  for (int64_t i = 0; i < c.size; ++i) {
    const A v = multiply_add(momentum, load(velocity[i]), -(rate * load(grads[i])));
    store(&velocity[i], v);
    store(&values[i], load(values[i]) + v);
  }
}

// As torch.lerp, exact for weights 0 and 1.
template <class T>
void move_average(const void* values_, void* average_, int64_t size, double weight_) {
  using A = compute_t<T>;
  const T* __restrict values = static_cast<const T*>(values_);
  T* __restrict average = static_cast<T*>(average_);
  const A weight = static_cast<A>(weight_);
  const bool is_near = weight < A(0.5);  // the result is nearer to the average than to the value
  const A factor = is_near ? weight : weight - A(1);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    const A mean = load(average[i]), value = load(values[i]);
    store(&average[i], multiply_add(factor, value - mean, is_near ? mean : value));
  }
}

template <class T>
void halve(const void* values_, void* halves_, int64_t size) {
  const T* __restrict values = static_cast<const T*>(values_);
  BFloat16* __restrict halves = static_cast<BFloat16*>(halves_);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) store(&halves[i], static_cast<float>(load(values[i])));
}

}  // namespace
}  // namespace fastgan
