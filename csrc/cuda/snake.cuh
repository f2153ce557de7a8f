// Snake of a number, and its derivatives, for both kinds of kernels.
#pragma once

#include "channels.cuh"
#include "snake.h"

namespace fastgan::cuda {

// |y| / pi less an integer, in [-1/2, 1/2], for any finite |y| >= 2048.
//
// With |y| = m 2^e, m an integer of 53 bits, the digits of 1 / pi before place e only add integers; those after place
// e + 192 are too small to matter. Rare, so not inlined: it would be there once for each of a thread's samples.
static __device__ __noinline__ double half_turns_of_large(double y) {
  // 64 zeros before the digits of 1 / pi, for e down to -64; static: in constant memory, as it is indexed
  static constexpr uint64_t kInversePi[20] = {
      0, 0x517cc1b727220a94u, 0xfe13abe8fa9a6ee0u, 0x6db14acc9e21c820u,
      0xff28b1d5ef5de2b0u, 0xdb92371d2126e970u, 0x0324977504e8c90eu, 0x7f0ef58e5894d39fu,
      0x74411afa975da242u, 0x74ce38135a2fbf20u, 0x9cc8eb1cc1a99cfau, 0x4e422fc5defc941du,
      0x8ffc4bffef02cc07u, 0xf79788c5ad05368fu, 0xb69b3f6793e584dbu, 0xa7a31fb34f2ff516u,
      0xba93dd63f5f2f8bdu, 0x9e839cfbc5294975u, 0x35fdafd88fc6ae84u, 0x2b0198237e3db5d5u};
  uint64_t bits;
  memcpy(&bits, &y, sizeof bits);
  const uint64_t m = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  const int place = static_cast<int>(bits >> 52 & 0x7ffu) - 1075 + 64, shift = place % 64;
  const uint64_t* const words = kInversePi + place / 64;
  unsigned __int128 product = 0;  // of m and 192 digits, from the last 64 on
  uint64_t last = 0;
#pragma unroll
  for (int i = 2; i >= 0; --i) {
    const uint64_t digits = words[i] << shift | words[i + 1] >> 1 >> (63 - shift);
    last = static_cast<uint64_t>(product);
    product = static_cast<unsigned __int128>(m) * digits + static_cast<uint64_t>(product >> 64);
  }
  return static_cast<double>(static_cast<int64_t>(product)) * 0x1p-64 + static_cast<double>(last) * 0x1p-128;
}

// y / pi less an integer; nan for infinities and nan.
static __device__ __forceinline__ double half_turns(double y) {
  if (!(fabs(y) < 0x1p20)) {
    const double turns = fabs(y) < HUGE_VAL ? half_turns_of_large(y) : y - y;
    return y < 0 ? -turns : turns;
  }
  constexpr double kInversePi = 0x1.45f306dc9c883p-2, kRest = -0x1.6b01ec5417056p-56;
  const double product = y * kInversePi;
  return product - rint(product) + (fma(y, kInversePi, -product) + y * kRest);
}

// Without the library's sin, which would put an array for large angles on the stack.
static __device__ __forceinline__ Sines<double> sines_of_double(double y) {
  const double turns = half_turns(y);
#if defined(__CUDA_ARCH__)
  double sine, cosine;
  sincospi(turns, &sine, &cosine);
  return {sine * sine, 2.0 * sine * cosine};
#else
  return sines(turns * 3.141592653589793);
#endif
}

// Up to this magnitude of y, sines_of() needs no test: the hardware's sine has an absolute error of 2^-21, and that of
// y itself, far below the rounding of half types.
template <class T>
constexpr float kTameAngle = sizeof(T) == 2 ? 2048.0f : kLargestAngle;

template <class T>
__device__ Sines<float> tame_sines(float y) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 2) {
    const float sine = __sinf(y), cosine = __cosf(y);
    return {sine * sine, 2.0f * sine * cosine};
  }
#endif
  return sines(y);
}

// Both have period pi, so y may be replaced by another angle.
template <class T>
__device__ __forceinline__ Sines<float> sines_of_large(float y) {
  if constexpr (sizeof(T) == 2) {
    // Beyond 2^23, the signal's own rounding is more than a period: there the result only has to be a sine.
    while (fabsf(y) > kTameAngle<T>) {
      const float n = rintf(y * 0.318309886f);
      y = fmaf(n, 8.74227766e-8f, fmaf(n, -3.14159274f, y));
    }
    return tame_sines<T>(y);
  } else {
    const double angle = half_turns(y) * 3.141592653589793;
    const float rounded = static_cast<float>(angle), low = static_cast<float>(angle - static_cast<double>(rounded));
    Sines<float> result = tame_sines<T>(rounded);
    result.square += low * result.of_double;  // its derivative
    return result;
  }
}

// sines(y), as exact as a result stored as T needs it. kTame: |y| <= kTameAngle<T>.
template <class T, bool kTame>
__device__ Sines<compute_t<T>> sines_of(compute_t<T> y) {
  if constexpr (sizeof(T) == 8) {
    return sines_of_double(y);
  } else {
    if (kTame || fabsf(y) <= kTameAngle<T>) return tame_sines<T>(y);
    return sines_of_large<T>(y);
  }
}

// alpha and beta of a channel, as Snake uses them.
template <class A>
struct Curve {
  A frequency, inverse;  // a, 1 / (b + eps)

  __device__ A bend() const { return frequency * inverse; }
  // T is the type of the signal.
  template <class T, bool kTame>
  __device__ A activated(A u) const {
    return u + sines_of<T, kTame>(frequency * u).square * inverse;
  }
};

template <class A>
__device__ A exponential(A x) {
  if constexpr (sizeof(A) == 8) return exp(x);
  return expf(x);
}

template <class T>
__device__ Curve<compute_t<T>> load_curve(const SnakeCall& call, int64_t channel) {
  using A = compute_t<T>;
  A a = load_number<T>(call.alpha, channel, 0), b = load_number<T>(call.beta, channel, a);
  if (call.log_scale) {
    a = exponential(a);
    b = exponential(b);
  }
  return {a, A(1) / (b + static_cast<A>(call.eps))};
}

// What the gradients of a channel's alpha and beta are computed from: sums of g u sin(2 a u) and of g sin(a u)^2, with
// g the gradient of Snake's output.
template <class A>
struct SnakeSums {
  A of_alpha, of_beta;

  // Adds a term. Returns the gradient of u. bend: a / (b + eps)
  template <class T, bool kTame>
  __device__ A add(A frequency, A bend, A g, A u) {
    const auto sines = sines_of<T, kTame>(frequency * u);
    const A turned = g * sines.of_double;
    of_alpha += turned * u;
    of_beta += g * sines.square;
    return g + turned * bend;
  }
  // Stores both as element `at` of partials [2, size].
  __device__ void store(A* partials, int64_t size, int64_t at) const {
    partials[at] = of_alpha;
    partials[size + at] = of_beta;
  }
};

// Partial sums [2, outer, channels, inner]; inner is 1 if channels are last.
struct SnakeParts {
  int64_t outer, channels, inner;
  int64_t size() const { return outer * channels * inner; }
};

// So many parts of each row, the samples of one channel of one sample of the batch.
inline SnakeParts parts_of_rows(const SnakeCall& call, int64_t parts) {
  if (call.channels_last) return {call.samples * parts, call.channels, 1};
  return {call.samples, call.channels, parts};
}

// Adds up partial sums and writes the gradients of alpha and beta.
cudaError_t add_up_snake(const SnakeCall& call, const SnakeGrad& grad, const void* partials, const SnakeParts& parts);

inline bool has_sums(const SnakeGrad& grad) { return grad.alpha.at != nullptr || grad.beta.at != nullptr; }

constexpr int kMostTaps = 24;  // of any filter

// Copies both filters to shared memory, the first one times 2, with zeros after the last tap.
template <class T>
struct Taps {
  compute_t<T> up[kMostTaps], down[kMostTaps];

  __device__ void load(const SnakeFilters& f) {
    static_assert(kMostTaps <= kThreads, "a thread loads one tap of each");
    const int i = static_cast<int>(threadIdx.x);
    if (i < kMostTaps) {
      up[i] = i < f.up_taps ? 2 * load_number<T>({const_cast<void*>(f.up), f.up_dtype}, i, 0) : compute_t<T>(0);
      down[i] = i < f.down_taps ? load_number<T>({const_cast<void*>(f.down), f.down_dtype}, i, 0) : compute_t<T>(0);
    }
    __syncthreads();
  }
};

}  // namespace fastgan::cuda
