// Storage types and their compute types: double for double, float for the rest. For host and device.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "scalar_math.h"

namespace fastgan {

// In the order of DTYPES in fastgan/kernels/native.py.
enum class DType : int { f64 = 0, f32 = 1, f16 = 2, bf16 = 3 };

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class T>
struct Compute {
  using type = float;
};
template <>
struct Compute<double> {
  using type = double;
};
template <class T>
using compute_t = typename Compute<T>::type;

FASTGAN_HD double load(double value) { return value; }
FASTGAN_HD float load(float value) { return value; }
FASTGAN_HD float load(BFloat16 value) { return float_of(static_cast<int32_t>(static_cast<uint32_t>(value.bits) << 16)); }
FASTGAN_HD float load(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  const uint32_t magnitude = value.bits & 0x7fffu;
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  // Shift the exponent into place, then rescale by a float product, which handles denormals too.
  const float scaled = float_of(static_cast<int32_t>(magnitude << 13)) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return float_of(static_cast<int32_t>(static_cast<uint32_t>(bits_of(scaled)) | special | sign));
#endif
}

// Stores round to nearest even, as PyTorch's casts.
FASTGAN_HD void store(double* to, double value) { *to = value; }
FASTGAN_HD void store(float* to, float value) { *to = value; }
FASTGAN_HD void store(BFloat16* to, float value) {
#if defined(__CUDA_ARCH__)
  to->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
  const uint32_t bits = static_cast<uint32_t>(bits_of(value));
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to->bits = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded);
#endif
}
FASTGAN_HD void store(Half* to, float value) {
#if defined(__CUDA_ARCH__)
  to->bits = __half_as_ushort(__float2half_rn(value));
#else
  const uint32_t bits = static_cast<uint32_t>(bits_of(value));
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 1/2 makes the hardware round to multiples of 2^-24, the spacing of half denormals.
  const uint32_t denormal = static_cast<uint32_t>(bits_of(float_of(static_cast<int32_t>(magnitude)) + 0.5f)) - 0x3f000000u;
  uint32_t half = magnitude < 0x38800000u ? denormal : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // 65520 and above round to infinity
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  to->bits = static_cast<uint16_t>(half | sign);
#endif
}

}  // namespace fastgan
