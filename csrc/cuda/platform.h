// CUDA for the kernels. Tests compile the kernels for the host, with a header that replaces the CUDA runtime.
#pragma once

#if defined(FASTGAN_CUDA_ON_HOST)
#include "cuda_on_host.h"
#else
#include <cuda_runtime.h>

#include <cstdint>

#define FASTGAN_LAUNCH(kernel, blocks, where, ...) \
  kernel<<<static_cast<unsigned>(blocks), fastgan::kThreads, 0, fastgan::stream_of(where)>>>(__VA_ARGS__)
// A launch with `bytes` of dynamic shared memory; CUDA requires an attribute for more than 48 KiB.
#define FASTGAN_LAUNCH_WITH_SHARED(kernel, blocks, bytes, where, ...)                                   \
  (fastgan::allow_shared(reinterpret_cast<const void*>(&FASTGAN_STRIP kernel), bytes),                   \
   kernel<<<static_cast<unsigned>(blocks), fastgan::kThreads, static_cast<size_t>(bytes), fastgan::stream_of(where)>>>( \
       __VA_ARGS__))
#define FASTGAN_STRIP(...) __VA_ARGS__
// Inside a kernel: declares that memory as `T* name`.
#define FASTGAN_DYNAMIC_SHARED(T, name)      \
  extern __shared__ uint4 dynamic_shared[];  \
  T* const name = reinterpret_cast<T*>(dynamic_shared)

namespace fastgan {
constexpr int kThreads = 256;     // threads per block
constexpr int kMaxRanges = 1024;  // blocks that share one sum

inline void allow_shared(const void* kernel, int64_t bytes) {
  if (bytes > 48 * 1024)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}
}  // namespace fastgan
#endif

#include <type_traits>

#include "../storage.h"

namespace fastgan {

inline cudaStream_t stream_of(Where where) { return reinterpret_cast<cudaStream_t>(where); }

// 2^x; error within 2 ulp. kFlush: results below 2^-126 become zero, which saves three instructions.
template <bool kFlush>
FASTGAN_HD float exp2_fast(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  if constexpr (kFlush)
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  else
    asm("ex2.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return exp2f(x);
#endif
}

// exp(-|t|) for logits stored as T. For half types, the relative error of |t| 2^-24 is far below their rounding; the
// result is 0 if it is below 2^-126 (|t| > 87).
template <class T>
FASTGAN_HD compute_t<T> exp_minus_abs_of(compute_t<T> t) {
  if constexpr (std::is_same_v<T, double>) {
    return exp(-fabs(t));
  } else if constexpr (std::is_same_v<T, float>) {
    const float x = -fabsf(t) < -104.0f ? -104.0f : -fabsf(t);  // exp(-104) rounds to zero; the comparison keeps nan
    const float exponent = x * 1.44269502f;
    // Compute the exponent's rounding error exactly and correct the result for it.
    const float lost = fmaf(x, 1.44269502f, -exponent) + x * 1.92596299e-8f;
    const float e = exp2_fast<false>(exponent);
    return e + e * (lost * 0.693147181f);
  } else {
    return exp2_fast<true>(fabsf(t) * -1.44269504f);
  }
}

template <class A>
__device__ A root(A x) {
  if constexpr (sizeof(A) == 8) return sqrt(x);
  return sqrtf(x);
}

// Elements per 16-byte access.
template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T, int kWidth>
struct alignas(kWidth * sizeof(T)) Vector {
  T at[kWidth];
};

// Calls work(T{}) with the type T of a dtype.
template <class Work>
auto with_type(DType dtype, const Work& work) {
  switch (dtype) {
    case DType::f64: return work(double{});
    case DType::f32: return work(float{});
    case DType::f16: return work(Half{});
    default: return work(BFloat16{});
  }
}

// Loads elements from an address of any alignment. Which elements a thread processes does not depend on alignment, so
// sums do not either.
template <class T, int kWidth>
FASTGAN_HD Vector<T, kWidth> load_vector(const T* from, bool aligned) {
  if (aligned || kWidth == 1) return *reinterpret_cast<const Vector<T, kWidth>*>(from);
  Vector<T, kWidth> result;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) result.at[i] = from[i];
  return result;
}

template <class T, int kWidth>
FASTGAN_HD void store_vector(T* to, const Vector<T, kWidth>& values, bool aligned) {
  if (aligned || kWidth == 1) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof values == 16) {  // one instruction; nvcc would store some structures element by element
      uint4 word;
      memcpy(&word, &values, sizeof word);
      __stwb(reinterpret_cast<uint4*>(to), word);
      return;
    }
#endif
    *reinterpret_cast<Vector<T, kWidth>*>(to) = values;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to[i] = values.at[i];
  }
}

FASTGAN_HD bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// The largest dynamic shared memory of a block on the current device; 12 KiB are left for what kernels declare.
inline int64_t most_shared_bytes() {
  int device = 0, bytes = 0;
  cudaGetDevice(&device);
  if (cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess) cudaGetLastError();
  return bytes - 12 * 1024;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace fastgan
