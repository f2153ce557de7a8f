// The natural logarithm, for loops that vectorize. Only isa.cpp's loops include this file. Internal linkage.
#pragma once

#include "../scalar_math.h"

namespace fastgan {
namespace {

// log(u) for a finite u from 2^-126 on; error below 2 ulp. A nan has no meaningful result.
FASTGAN_HD float log_of_normal(float u) {
  // u = 2^k m with m in [sqrt(1/2), sqrt(2))
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const int32_t shifted = bits_of(u) - kSqrtHalf;
  const float k = static_cast<float>(shifted >> 23);
  const float f = float_of((shifted & 0x007fffff) + kSqrtHalf) - 1.0f;
  const float z = f * f;
  // Cephes's logf.
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  // log 2 in two parts, the first so short that its product with k is exact
  return k * 0.693359375f + (f + ((f * z * p - k * 2.12194440e-4f) - 0.5f * z));
}

FASTGAN_HD double log_of_normal(double u) { return log(u); }

}  // namespace
}  // namespace fastgan
