// Scalar functions shared by all kernels, for host and device.
//
// All losses are computed from e = exp(-|t|), which lies in [0, 1] and cannot overflow:
//   softplus(t) = max(t, 0) + log1p(e)
//   sigmoid(t)  = (t > 0 ? 1 : e) / (1 + e)
// nan propagates; infinities give the limits. The float versions are straight-line code, so that loops over them
// vectorize, which they would not with calls into libm. double uses libm.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define FASTGAN_HD static __host__ __device__ __forceinline__
#define FASTGAN_HD_MEMBER __host__ __device__ __forceinline__
#else
// Internal linkage: these headers are compiled once for each instruction set, and the linker could otherwise keep the
// AVX-512 version of an inline function for all of them.
#define FASTGAN_HD static inline __attribute__((always_inline))
#define FASTGAN_HD_MEMBER inline __attribute__((always_inline))
#endif

namespace fastgan {

// A logit is saturated if its sigmoid is within 0.001 of 0 or 1: |t| > log(999).
constexpr double kSaturatedLogit = 6.906754778648554;

FASTGAN_HD int32_t bits_of(float value) {
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

FASTGAN_HD float float_of(int32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// exp(x) for x <= 0; error below 2 ulp, denormal results included.
FASTGAN_HD float exp_nonpositive(float x) {
  x = x < -104.0f ? -104.0f : x;  // exp(-104) rounds to zero; the comparison keeps nan
  constexpr float kRoundToInteger = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = x * 1.44269504f + kRoundToInteger;
  const float n = shifted - kRoundToInteger;
  // x = n log 2 + r. log 2 is split in two, the first part so short that its product with n is exact.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // Minimax on |r| <= log(2) / 2, relative error 3e-9.
  const float q =
      0.49999994f + r * (0.16666521f + r * (0.04166839f + r * (0.008368745f + r * 0.0013814539f)));
  const float exp_r = 1.0f + (r + r * r * q);
  // Multiply by 2^(n + 24), then by 2^-24, so that results below 2^-126 become denormals. The low bits of `shifted`
  // hold the integer n; the shift moves them into the exponent and drops the rest.
  const float scale = float_of(static_cast<int32_t>((static_cast<uint32_t>(bits_of(shifted)) << 23) + (151u << 23)));
  return exp_r * scale * 0x1p-24f;
}

FASTGAN_HD double exp_nonpositive(double x) { return exp(x); }

// exp(x) - 1 for x <= 0; error below 2 ulp.
FASTGAN_HD float expm1_nonpositive(float x) {
  x = x < -32.0f ? -32.0f : x;  // the result rounds to -1; the comparison keeps nan
  constexpr float kRoundToInteger = 12582912.0f;  // as in exp_nonpositive, with the same r and q
  const float shifted = x * 1.44269504f + kRoundToInteger;
  const float n = shifted - kRoundToInteger;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float q =
      0.49999994f + r * (0.16666521f + r * (0.04166839f + r * (0.008368745f + r * 0.0013814539f)));
  const float expm1_r = r + r * r * q;
  const float scale = float_of(static_cast<int32_t>((static_cast<uint32_t>(bits_of(shifted)) << 23) + (127u << 23)));
  return scale * expm1_r + (scale - 1.0f);  // scale is 2^n
}

FASTGAN_HD double expm1_nonpositive(double x) { return expm1(x); }

// log(1 + p) for 0 <= p < 2^24; error below 2 ulp.
FASTGAN_HD float log1p_nonnegative(float p) {
  const float u = 1.0f + p;
  const float rounding = (p - (u - 1.0f)) / u;  // correction of log(u) for the rounding of 1 + p
  // u = 2^k m with m in [sqrt(1/2), sqrt(2))
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const int32_t shifted = bits_of(u) - kSqrtHalf;
  const float k = static_cast<float>(shifted >> 23);
  const float m = float_of((shifted & 0x007fffff) + kSqrtHalf);
  // log m = 2 atanh(s) with s = (m - 1) / (m + 1), |s| < 0.172
  const float f = m - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  const float tail = z * (0.333333333f + z * (0.2f + z * (0.142857143f + z * 0.111111111f)));
  // 2 s = f - s f keeps the leading term exact; log 2 in two parts as above.
  const float log_m = f - s * (f - 2.0f * tail);
  return k * 0.693359375f + (log_m + (rounding - k * 2.12194440e-4f));
}

FASTGAN_HD double log1p_nonnegative(double p) { return log1p(p); }

// fabs is one instruction. A comparison would compile to branches and then masked stores, 40 cycles each on AMD's AVX2.
FASTGAN_HD float absolute(float x) { return fabsf(x); }
FASTGAN_HD double absolute(double x) { return fabs(x); }

// A sum of many log1p(e) is log1p(p) with p = prod(1 + e) - 1. This adds a factor, without cancellation for tiny e:
//   p <- p + e + p e
template <class A>
FASTGAN_HD A product_minus_one(A p, A e) {
  return p + (e + p * e);
}

// The part of label * softplus(-t) + (1 - label) * softplus(t) that is not log1p(exp(-|t|)):
// (1 - label) t for t > 0, -label t otherwise; 0, not nan, for an infinite logit with weight 0.
template <class A>
FASTGAN_HD A linear_part(A t, A label) {
  const A weight = t > A(0) ? A(1) - label : label;
  return weight == A(0) ? A(0) : weight * absolute(t);
}

template <class A>
FASTGAN_HD A exp_minus_abs(A t) {
  return exp_nonpositive(-absolute(t));
}

// 1 / x for 1 <= x <= 2, within an ulp. On a GPU, an exact division would spend instructions on exponents out of range.
FASTGAN_HD float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.0f / x;
#endif
}

FASTGAN_HD double reciprocal(double x) { return 1.0 / x; }

template <class A>
FASTGAN_HD A sigmoid(A t, A e) {
  return (t > A(0) ? A(1) : e) * reciprocal(A(1) + e);
}

// sigmoid(t) as a result, not a factor; error below 2 ulp, where sigmoid(t, e) has up to 3.
FASTGAN_HD float exact_sigmoid(float t) {
  const float e = exp_minus_abs(t);
  const float u = 1.0f + e;
  const float rounding = e - (u - 1.0f);
  const float y = (t > 0.0f ? 1.0f : e) / u;
  const float inverse = t > 0.0f ? y : 1.0f - y;  // of u, up to its last digits
  return y - y * (rounding * inverse);
}

FASTGAN_HD double exact_sigmoid(double t) { return sigmoid(t, exp_minus_abs(t)); }

// tanh(x); error below 2 ulp.
FASTGAN_HD float hyperbolic_tangent(float x) {
  const float magnitude = absolute(x);
  // for |x| < 0.625 (Cephes): the other formula would lose digits
  const float z = x * x;
  const float odd = 1.33314422036e-1f + z * (-5.37397155531e-2f + z * (2.06390887954e-2f + z * -5.70498872745e-3f));
  const float small = magnitude + magnitude * (z * (-3.33332819422e-1f + z * odd));
  const float e = exp_nonpositive(-2.0f * magnitude);
  const float large = 1.0f - 2.0f * e / (1.0f + e);
  const float result = magnitude < 0.625f ? small : large;
  return float_of(bits_of(result) | (bits_of(x) & static_cast<int32_t>(0x80000000u)));
}

FASTGAN_HD double hyperbolic_tangent(double x) { return tanh(x); }

// d/dt of the cross-entropy: sigmoid(t) - label, written as (1 - label) sigmoid(t) - label sigmoid(-t) to avoid
// cancellation. One product and one sum: compilers can contract them in one way only, so forward and backward kernels
// give the same bits.
template <class A>
FASTGAN_HD A loss_slope(A t, A e, A label) {
  const bool positive = t > A(0);
  const A of_e = positive ? -label : A(1) - label;
  const A constant = positive ? A(1) - label : -label;
  return (of_e * e + constant) * reciprocal(A(1) + e);
}

// The slope of |d|; 0 for 0 and for nan, as in PyTorch.
template <class A>
FASTGAN_HD A sign(A d) {
  return static_cast<A>(d > A(0)) - static_cast<A>(d < A(0));
}

// -value if `condition` is 1, value if it is 0.
FASTGAN_HD float negative_if(uint32_t condition, float value) {
  return float_of(static_cast<int32_t>(static_cast<uint32_t>(bits_of(value)) ^ (condition << 31)));
}

// What Snake needs of the sine of an angle y.
template <class A>
struct Sines {
  A square;     // sin(y)^2
  A of_double;  // sin(2 y)
};

// Beyond this magnitude, sines() needs double.
constexpr float kLargestAngle = 8192.0f;

// For |y| <= kLargestAngle; nan for nan, and without meaning for other y. The error of the square is below 2 ulp, that
// of sin(2 y) below 2e-7, and below 3 ulp for |y| <= 1.
FASTGAN_HD Sines<float> sines(float y) {
  constexpr float kRoundToInteger = 12582912.0f;  // as in exp_nonpositive
  const float shifted = y * 0.636619747f + kRoundToInteger;
  const float n = shifted - kRoundToInteger;
  // y = n pi / 2 + r + low, with |r| <= pi / 4. n has 13 bits and each of the first three parts of pi / 2 has 11, so
  // that their products are exact.
  const float rest = (y - n * 1.5703125f) - n * 4.83751297e-4f;  // exact too
  const float third = n * 7.54953362e-8f;
  const float rounded = rest - third;
  const float missing = ((rest - rounded) - third) - n * 2.56334407e-12f;
  const float r = rounded + missing;
  const float low = (rounded - r) + missing;
  const float twice = r + r;
  const float z = r * r;
  // Minimax on [0, (pi / 4)^2]: relative error 1e-9, absolute error 5e-9.
  const float square = -0.333333284f + z * (0.0444437563f + z * (-0.00317128189f + z * 1.3473125e-4f));
  const float of_double = -0.666666269f + z * (0.133328274f + z * (-0.0126762092f + z * 6.65582833e-4f));
  // Without the low part, the square would have twice the relative error of r. It adds sin(2 r) low.
  const float of_low = twice * low;
  const float of_r = z + (of_low + z * (z * square - 0.6f * of_low));
  const float of_twice_r = twice + twice * (z * of_double);
  // For odd n, 1 - sin(r)^2 and -sin(2 r), with the lowest bit of `shifted` in place of a condition, which compilers
  // might turn into a branch.
  const uint32_t is_odd = static_cast<uint32_t>(bits_of(shifted)) & 1u;
  const float constant = float_of(static_cast<int32_t>((0u - is_odd) & 0x3f800000u));  // 1 or 0
  return {constant + negative_if(is_odd, of_r), negative_if(is_odd, of_twice_r)};
}

FASTGAN_HD Sines<double> sines(double y) {
  const double sine = sin(y);
  return {sine * sine, 2.0 * sine * cos(y)};
}

template <class A>
FASTGAN_HD A leaky_relu(A z, A negative_slope) {
  return z > A(0) ? z : negative_slope * z;
}

// Takes the output y in place of the input: for negative_slope >= 0 they have the same sign.
template <class A>
FASTGAN_HD A leaky_relu_gradient(A gradient, A y, A negative_slope) {
  return y > A(0) ? gradient : negative_slope * gradient;
}

}  // namespace fastgan
