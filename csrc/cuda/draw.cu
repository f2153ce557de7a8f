// A thread computes the four numbers of one Philox counter. A number depends only on seed, step, kind and index, not on
// how many are drawn at once.
#include "draw.h"

namespace fastgan::cuda {
namespace {

struct Words {
  uint32_t at[4];
};

__device__ Words philox(Words c, uint32_t k0, uint32_t k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53u} * c.at[0], second = uint64_t{0xCD9E8D57u} * c.at[2];
    c = {{static_cast<uint32_t>(second >> 32) ^ c.at[1] ^ k0, static_cast<uint32_t>(second),
          static_cast<uint32_t>(first >> 32) ^ c.at[3] ^ k1, static_cast<uint32_t>(first)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// Two standard normal numbers from two words (Box and Muller, 1958). `first` is mapped to (0, 1], so its logarithm is
// finite.
__device__ void normal_pair(uint32_t first, uint32_t second, float* to) {
  const float radius = sqrtf(-2.0f * logf(static_cast<float>(first) * 0x1p-32f + 0x1p-33f));
  const float half_turns = static_cast<float>(second) * 0x1p-31f;
#if defined(__CUDA_ARCH__)
  float sine, cosine;
  sincospif(half_turns, &sine, &cosine);
#else
  const float sine = sinf(half_turns * 3.14159265f), cosine = cosf(half_turns * 3.14159265f);
#endif
  to[0] = radius * cosine;
  to[1] = radius * sine;
}

__device__ int64_t whole_counters(int64_t size) { return (size + 3) / 4 * 4; }

__global__ void __launch_bounds__(kThreads) draw_kernel(const DrawCall a) {
  int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4, size = 0, begin = 0;
  int kind = 3;
  bool is_found = false;
#pragma unroll
  for (int i = 0; i < 3; ++i) {  // unrolled: arrays indexed at run time would be placed in local memory
    const bool is_here = !is_found && at < whole_counters(a.sizes[i]);
    if (is_here) kind = i, size = a.sizes[i], begin = a.begins[i];
    is_found = is_found || is_here;
    if (!is_found) at -= whole_counters(a.sizes[i]);
  }
  if (!is_found) return;  // no barrier follows
  const uint64_t place = static_cast<uint64_t>(begin + at) / 4, step = static_cast<uint64_t>(*a.step);
  const Words words = philox({{static_cast<uint32_t>(place), static_cast<uint32_t>(kind + 4 * (place >> 32)),
                               static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)}},
                             static_cast<uint32_t>(a.seed), static_cast<uint32_t>(a.seed >> 32));
  const int count = size - at < 4 ? static_cast<int>(size - at) : 4;
  if (kind == 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < count) a.integers[at + i] = static_cast<int64_t>(words.at[i] * a.high >> 32);
    return;
  }
  float numbers[4];
  if (kind == 1) {
    normal_pair(words.at[0], words.at[1], numbers);
    normal_pair(words.at[2], words.at[3], numbers + 2);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) numbers[i] = static_cast<float>(words.at[i] >> 8) * 0x1p-24f;
  }
  float* to = (kind == 1 ? a.normal : a.uniform) + at;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) to[i] = numbers[i];
}

}  // namespace

cudaError_t draw(const DrawCall& call) {
  int64_t counters = 0;
  for (const int64_t size : call.sizes) counters += ceil_div(size, 4);
  if (counters == 0) return cudaSuccess;
  FASTGAN_LAUNCH((draw_kernel), ceil_div(counters, kThreads), call.where, call);
  return cudaGetLastError();
}

}  // namespace fastgan::cuda
