// Random numbers by counter (Philox 4x32-10: Salmon et al., 2011), as Reference.draw defines them. Included by isa.cpp
// only; internal linkage.
#pragma once

#if defined(FASTGAN_X86)
#include <immintrin.h>
#endif

#include <cstring>

#include "logarithm.h"
#include "vectors.h"

namespace fastgan {
namespace {

// Counters that are computed side by side; each gives four words.
constexpr int kCounters = 16;

struct Words {
  alignas(kVectorBytes) uint32_t at[4][kCounters];
};

// A counter's word in the low half of each lane. The high halves are not read.
typedef uint64_t WideVector __attribute__((vector_size(kVectorBytes)));
constexpr int kWideLanes = kVectorBytes / 8;

// The products of the low halves of lanes. g++ would multiply whole lanes, with several instructions.
FASTGAN_HD WideVector product_of_words(WideVector x, WideVector y) {
#if defined(__AVX512F__)
  return reinterpret_cast<WideVector>(_mm512_mul_epu32(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(y)));
#elif defined(__AVX2__)
  return reinterpret_cast<WideVector>(_mm256_mul_epu32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(y)));
#elif defined(__SSE2__)
  return reinterpret_cast<WideVector>(_mm_mul_epu32(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(y)));
#else
  return (x & 0xFFFFFFFFu) * (y & 0xFFFFFFFFu);
#endif
}

struct WideWords {
  WideVector at[4];
};

FASTGAN_HD WideWords philox(WideVector place, uint32_t kind, uint64_t seed, uint64_t step) {
  const WideVector zero = {};
  WideWords c = {{place, kind + 4 * (place >> 32), zero + step, zero + (step >> 32)}};
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const WideVector first = product_of_words(c.at[0], zero + 0xD2511F53u);
    const WideVector second = product_of_words(c.at[2], zero + 0xCD9E8D57u);
    c = {{(second >> 32) ^ c.at[1] ^ (zero + k0), second, (first >> 32) ^ c.at[3] ^ (zero + k1), first}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

FASTGAN_HD void words(uint64_t place, uint32_t kind, uint64_t seed, uint64_t step, Words* to) {
  WideVector even;
  for (int lane = 0; lane < kWideLanes; ++lane) even[lane] = place + 2 * lane;
#pragma GCC unroll 4
  for (int at = 0; at < kCounters; at += kVectorLanes) {
    const WideWords a = philox(even + at, kind, seed, step), b = philox(even + at + 1, kind, seed, step);
    for (int word = 0; word < 4; ++word) {
      const WideVector both = (a.at[word] & 0xFFFFFFFFu) | b.at[word] << 32;
      memcpy(&to->at[word][at], &both, sizeof both);
    }
  }
}

// Two standard normal numbers from two words (Box and Muller, 1958). `first` is mapped to (0, 1], so its logarithm is
// finite.
FASTGAN_HD void normal_pair(uint32_t first, uint32_t second, float* to) {
  const float radius = sqrtf(-2.0f * log_of_normal(static_cast<float>(first) * 0x1p-32f + 0x1p-33f));
  const float quarter_turns = static_cast<float>(second) * 0x1p-30f;
  constexpr float kRoundToInteger = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = quarter_turns + kRoundToInteger;
  const int32_t quarter = bits_of(shifted);
  const float angle = (quarter_turns - (shifted - kRoundToInteger)) * 1.57079633f;  // in [-pi / 4, pi / 4]
  const float z = angle * angle;
  // Cephes's sinf and cosf.
  const float sine =
      angle + angle * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
  const float cosine =
      1.0f - 0.5f * z + z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const bool is_odd = (quarter & 1) != 0;
  const int32_t sign_of_sine = (quarter & 2) << 30, sign_of_cosine = ((quarter + 1) & 2) << 30;
  to[0] = radius * float_of(bits_of(is_odd ? sine : cosine) ^ sign_of_cosine);
  to[1] = radius * float_of(bits_of(is_odd ? cosine : sine) ^ sign_of_sine);
}

// Fills `to` with the numbers [first, first + count) of a kind, which convert(words, block) computes. Blocks that reach
// beyond either end go through a buffer, so that all numbers are computed by the same code.
template <class T, class Convert>
void for_each_block(T* to, int64_t first, int64_t count, uint32_t kind, uint64_t seed, uint64_t step,
                    const Convert& convert) {
  constexpr int64_t kNumbers = 4 * kCounters;
  alignas(64) T buffer[kNumbers];
  for (int64_t counter = first / 4; 4 * counter < first + count; counter += kCounters) {
    const int64_t at = 4 * counter - first;
    const bool is_inside = at >= 0 && at + kNumbers <= count;
    Words drawn;
    words(static_cast<uint64_t>(counter), kind, seed, step, &drawn);
    convert(drawn, is_inside ? to + at : buffer);
    if (is_inside) continue;
    const int64_t begin = at < 0 ? -at : 0, end = count - at < kNumbers ? count - at : kNumbers;
    memcpy(to + at + begin, buffer + begin, static_cast<size_t>(end - begin) * sizeof(T));
  }
}

void draw_integers(int64_t* to, int64_t first, int64_t count, uint64_t high, uint64_t seed, uint64_t step) {
  for_each_block(to, first, count, 0, seed, step, [=](const Words& words, int64_t* block) {
    for (int counter = 0; counter < kCounters; ++counter)
      for (int word = 0; word < 4; ++word)
        block[4 * counter + word] = static_cast<int64_t>(words.at[word][counter] * high >> 32);
  });
}

void draw_normal(float* to, int64_t first, int64_t count, uint64_t seed, uint64_t step) {
  for_each_block(to, first, count, 1, seed, step, [](const Words& words, float* block) {
#pragma omp simd
    for (int counter = 0; counter < kCounters; ++counter) {
      normal_pair(words.at[0][counter], words.at[1][counter], block + 4 * counter);
      normal_pair(words.at[2][counter], words.at[3][counter], block + 4 * counter + 2);
    }
  });
}

void draw_uniform(float* to, int64_t first, int64_t count, uint64_t seed, uint64_t step) {
  for_each_block(to, first, count, 2, seed, step, [](const Words& words, float* block) {
#pragma omp simd
    for (int counter = 0; counter < kCounters; ++counter)
      for (int word = 0; word < 4; ++word)
        block[4 * counter + word] = static_cast<float>(static_cast<int32_t>(words.at[word][counter] >> 8)) * 0x1p-24f;
  });
}

}  // namespace
}  // namespace fastgan
