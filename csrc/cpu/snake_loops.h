// Snake over a part of a tensor, and over a tile of an anti-aliased one. Included by isa.cpp only; internal linkage.
#pragma once

#include <type_traits>

#include "kernels.h"

namespace fastgan {
namespace {

// sines() if kIsSmall, that is |y| <= kLargestAngle; otherwise for any y, with the same result for a small one.
template <bool kIsSmall, class A>
FASTGAN_HD Sines<A> sines_of(A y) {
  if constexpr (!kIsSmall && std::is_same_v<A, float>) {
    if (!(absolute(y) <= kLargestAngle)) {
      const Sines<double> exact = sines(static_cast<double>(y));
      return {static_cast<float>(exact.square), static_cast<float>(exact.of_double)};
    }
  }
  return sines(y);
}

// Whether all |x| * factor are angles for sines(). Integers compare like the magnitudes that they encode, with nan
// above infinity.
template <class T, int kStep>
FASTGAN_HD bool are_small(const T* x, const float* factor, int64_t size) {
  int32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < size; ++i) {
    const int32_t magnitude = bits_of(load(x[i]) * factor[i * kStep]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return float_of(largest) <= kLargestAngle;
}

template <class T, int kStep>
FASTGAN_HD bool are_small(const T*, const double*, int64_t) {
  return true;
}

// Calls body with the condition as a type, so that its loop has no branch.
template <class Body>
FASTGAN_HD void specialized(bool condition, const Body& body) {
  condition ? body(std::true_type{}) : body(std::false_type{});
}

// u + sin(a u)^2 / b
template <bool kIsSmall, class A>
FASTGAN_HD A snake_of(A u, A frequency, A inverse) {
  return u + sines_of<kIsSmall>(frequency * u).square * inverse;
}

// Calls block(start, size) for the rows of a chunk, or for parts of a plane that stay in L1.
template <int kStep, class Block>
FASTGAN_HD void for_each_block(const SnakeChunk& c, const Block& block) {
  const int64_t step = kStep == 0 ? 1024 : c.columns;
  for (int64_t start = 0; start < c.size; start += step)
    block(start, c.size - start < step ? c.size - start : step);
}

// A number for each column, or for a plane: loaded here, as stores between two loads of it would prevent vectorization.
template <class A, int kStep>
struct Numbers {
  const A* at;
  A first;
  explicit Numbers(const void* numbers) : at(static_cast<const A*>(numbers)), first(*at) {}
  A operator[](int64_t i) const { return kStep == 0 ? first : at[i]; }
};

template <class T, int kStep, bool kIsSmall>
void snake_block(const SnakeChunk& c, int64_t start, int64_t size) {
  using A = compute_t<T>;
  const T* x = static_cast<const T*>(c.x) + start;
  T* y = static_cast<T*>(c.output) + start;
  const Numbers<A, kStep> frequency(c.frequency), inverse(c.inverse);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i)
    store(&y[i], snake_of<kIsSmall>(load(x[i]), frequency[i], inverse[i]));
}

template <class T, int kStep>
FASTGAN_HD bool are_small(const SnakeChunk& c, int64_t start, int64_t size) {
  using A = compute_t<T>;
  return are_small<T, kStep>(static_cast<const T*>(c.x) + start, static_cast<const A*>(c.frequency), size);
}

template <class T, int kStep>
void snake(const SnakeChunk& c) {
  for_each_block<kStep>(c, [&](int64_t start, int64_t size) {
    specialized(are_small<T, kStep>(c, start, size),
                [&](auto is_small) { snake_block<T, kStep, is_small>(c, start, size); });
  });
}

// The gradients, and a float sum of few terms for each column or for a plane.
template <class T, int kStep, bool kIsSmall, bool kInput, bool kSums>
void snake_grad_block(const SnakeChunk& c, int64_t start, int64_t size) {
  using A = compute_t<T>;
  const T *x = static_cast<const T*>(c.x) + start, *dy = static_cast<const T*>(c.dy) + start;
  T* dx = static_cast<T*>(c.output) + (kInput ? start : 0);
  const Numbers<A, kStep> frequency(c.frequency), inverse(c.inverse);
  A* __restrict of_frequency = static_cast<A*>(c.sums);
  A* __restrict of_magnitude = of_frequency + (kSums ? (kStep == 0 ? 1 : c.columns) : 0);
  A first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
  for (int64_t i = 0; i < size; ++i) {
    const A a = frequency[i], u = load(x[i]), g = load(dy[i]);
    const Sines<A> s = sines_of<kIsSmall>(a * u);
    if constexpr (kInput) store(&dx[i], g * (A(1) + a * inverse[i] * s.of_double));
    if constexpr (kSums && kStep == 0) {
      first += g * u * s.of_double;
      second += g * s.square;
    }
    if constexpr (kSums && kStep == 1) {
      of_frequency[i] += g * u * s.of_double;
      of_magnitude[i] += g * s.square;
    }
  }
  if constexpr (kSums && kStep == 0) {
    *of_frequency += first;
    *of_magnitude += second;
  }
}

template <class T, int kStep>
void snake_grad(const SnakeChunk& c) {
  for_each_block<kStep>(c, [&](int64_t start, int64_t size) {
    specialized(are_small<T, kStep>(c, start, size), [&](auto is_small) {
      specialized(c.output != nullptr, [&](auto input) {
        specialized(c.sums != nullptr, [&](auto sums) {
          constexpr bool kIsSmall = decltype(is_small)::value, kInput = decltype(input)::value;
          snake_grad_block<T, kStep, kIsSmall, kInput, sums>(c, start, size);
        });
      });
    });
  });
}

// Even and odd samples of a signal of twice the rate.
template <class A>
struct SnakeSamples {
  alignas(64) A even[kSnakeTile + 2 * kMostSnakeHalo];
  alignas(64) A odd[kSnakeTile + 2 * kMostSnakeHalo];
};
constexpr int64_t kSnakeWindow = kSnakeTile + 4 * kMostSnakeHalo;

// out[s] = sum_i taps[i] in[s + i], added to out[s] if kAdds
template <class A, int kTaps, bool kAdds>
void filtered(const A* __restrict in, const A* __restrict taps, A* __restrict out, int64_t size) {
  A w[kTaps];
  for (int i = 0; i < kTaps; ++i) w[i] = taps[i];
#pragma omp simd
  for (int64_t s = 0; s < size; ++s) {
    A sum = kAdds ? out[s] : A(0);
    for (int i = 0; i < kTaps; ++i) sum += w[i] * in[s + i];
    out[s] = sum;
  }
}

template <class A, bool kAdds, int kTaps = kMostPhaseTaps>
void filter(int taps, const A* in, const A* weights, A* out, int64_t size) {
  if (taps == kTaps) return filtered<A, kTaps, kAdds>(in, weights, out, size);
  if constexpr (kTaps > 1) filter<A, kAdds, kTaps - 1>(taps, in, weights, out, size);
}

// The adjoint of decimate(). `in` starts `halo` samples before `out`.
template <class A>
void interpolate(const SnakePhases<A>& p, const A* in, int64_t halo, SnakeSamples<A>& out, int64_t size) {
  A even[kMostPhaseTaps], odd[kMostPhaseTaps];
  for (int i = 0; i < p.even_taps; ++i) even[i] = p.even[p.even_taps - 1 - i];
  for (int i = 0; i < p.odd_taps; ++i) odd[i] = p.odd[p.odd_taps - 1 - i];
  filter<A, false>(p.even_taps, in + halo + p.even_shift + 1 - p.even_taps, even, out.even, size);
  filter<A, false>(p.odd_taps, in + halo + p.odd_shift + 1 - p.odd_taps, odd, out.odd, size);
}

// `in` starts `halo` samples before `out`.
template <class A>
void decimate(const SnakePhases<A>& p, const SnakeSamples<A>& in, int64_t halo, A* out, int64_t size) {
  filter<A, false>(p.even_taps, in.even + halo - p.even_shift, p.even, out, size);
  filter<A, true>(p.odd_taps, in.odd + halo - p.odd_shift, p.odd, out, size);
}

// What is common to the channels of a tile. The samples that it needs at twice the rate start at `first`; those of the
// signal start another halo earlier.
template <class A>
struct SnakeFrame {
  const SnakeTile& tile;
  const SnakePhases<A>&up, &down;
  int64_t halo, first, count;  // even samples, and as many odd ones
  int64_t window;              // samples of the signal
  explicit SnakeFrame(const SnakeTile& t)
      : tile(t), up(*static_cast<const SnakePhases<A>*>(t.up)), down(*static_cast<const SnakePhases<A>*>(t.down)),
        halo(t.halo), first(t.start - halo), count(t.size + 2 * halo), window(count + 2 * halo) {}
};

// Copies samples of each channel to a row of its own, without those beyond the ends of the signal.
template <class T, int kRows, class A>
void fetch(const SnakeFrame<A>& f, const void* signal, A (*rows)[kSnakeWindow]) {
  const SnakeTile& t = f.tile;
  const int64_t start = f.first - f.halo;
  const int64_t from = start > 0 ? start : 0;
  const int64_t to = start + f.window < t.length ? start + f.window : t.length;
  const T* source = static_cast<const T*>(signal) + from * t.stride;
  if constexpr (kRows == 1) {
    A* __restrict row = rows[0] + (from - start);
#pragma omp simd
    for (int64_t i = 0; i < to - from; ++i) row[i] = load(source[i]);
  } else {
    for (int64_t i = 0; i < to - from; ++i)
      for (int64_t r = 0; r < t.channels; ++r) rows[r][from - start + i] = load(source[i * t.stride + r]);
  }
}

template <class T, int kRows, class A>
void put(const SnakeTile& t, const A (*rows)[kSnakeWindow]) {
  T* output = static_cast<T*>(t.output) + t.start * t.stride;
  if constexpr (kRows == 1) {
#pragma omp simd
    for (int64_t i = 0; i < t.size; ++i) store(&output[i], rows[0][i]);
  } else {
    for (int64_t i = 0; i < t.size; ++i)
      for (int64_t r = 0; r < t.channels; ++r) store(&output[i * t.stride + r], rows[r][i]);
  }
}

// Beyond the ends of the signal, repeats its last sample `repeated` times; then zeros.
template <class A>
void extend(const SnakeFrame<A>& f, A* row, int64_t repeated) {
  const int64_t start = f.first - f.halo, length = f.tile.length;
  for (int64_t i = 0; start + i < 0; ++i) row[i] = start + i >= -repeated ? row[-start] : A(0);
  for (int64_t i = f.window - 1; start + i >= length; --i)
    row[i] = start + i < length + repeated ? row[length - 1 - start] : A(0);
}

// Whether the upsampled signal gives angles for sines(). The gain is a bound, so that this takes a pass over the signal
// only; a double has none.
template <class A>
FASTGAN_HD bool are_small(const SnakeFrame<A>& f, const A* row, A frequency) {
  const A factor = static_cast<A>(static_cast<double>(frequency) * f.tile.gain);
  return are_small<A, 0>(row, &factor, f.window);
}

// Beyond the ends of the signal, repeats the last sample of the signal of twice the rate.
template <class A>
void repeat_ends(const SnakeFrame<A>& f, SnakeSamples<A>& v) {
  for (int64_t i = 0; f.first + i < 0; ++i) v.even[i] = v.odd[i] = v.even[-f.first];
  const int64_t last = f.tile.length - 1 - f.first;
  for (int64_t i = last + 1; i < f.count; ++i) v.even[i] = v.odd[i] = v.odd[last];
}

// The gradient of samples that repeat the last one belongs to that one.
template <class A>
void fold_ends(const SnakeFrame<A>& f, SnakeSamples<A>& dv) {
  for (int64_t i = 0; f.first + i < 0; ++i) {
    dv.even[-f.first] += dv.even[i] + dv.odd[i];
    dv.even[i] = dv.odd[i] = 0;
  }
  const int64_t last = f.tile.length - 1 - f.first;
  for (int64_t i = last + 1; i < f.count; ++i) {
    dv.odd[last] += dv.even[i] + dv.odd[i];
    dv.even[i] = dv.odd[i] = 0;
  }
}

template <bool kIsSmall, class A>
void activate_samples(const A* __restrict u, A* __restrict v, int64_t size, A frequency, A inverse) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) v[i] = snake_of<kIsSmall>(u[i], frequency, inverse);
}

// A channel of a tile: x [window], overwritten with y [tile.size].
template <class A>
void anti_aliased_row(const SnakeFrame<A>& f, int64_t channel, A* x) {
  const A frequency = static_cast<const A*>(f.tile.frequency)[channel];
  const A inverse = static_cast<const A*>(f.tile.inverse)[channel];
  SnakeSamples<A> u, v;
  extend(f, x, f.tile.repeated);
  interpolate(f.up, x, f.halo, u, f.count);
  specialized(are_small(f, x, frequency), [&](auto is_small) {
    activate_samples<is_small>(u.even, v.even, f.count, frequency, inverse);
    activate_samples<is_small>(u.odd, v.odd, f.count, frequency, inverse);
  });
  repeat_ends(f, v);
  decimate(f.down, v, f.halo, x, f.tile.size);
}

template <class T, int kRows>
void anti_aliased_tile(const SnakeTile& t) {
  using A = compute_t<T>;
  const SnakeFrame<A> frame(t);
  alignas(64) A rows[kRows][kSnakeWindow];
  fetch<T, kRows>(frame, t.x, rows);
  for (int64_t channel = 0; channel < t.channels; ++channel) anti_aliased_row(frame, channel, rows[channel]);
  put<T, kRows>(t, rows);
}

template <class T>
void anti_aliased_snake(const SnakeTile& t) {
  t.stride == 1 ? anti_aliased_tile<T, 1>(t) : anti_aliased_tile<T, kSnakeChannels>(t);
}

// Overwrites dv with du; adds to sums [2], if kSums.
template <bool kIsSmall, bool kSums, class A>
void activate_samples_grad(const A* __restrict u, A* __restrict dv, int64_t size, A frequency, A inverse, A* sums) {
  const A ratio = frequency * inverse;
  A first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
  for (int64_t i = 0; i < size; ++i) {
    const Sines<A> s = sines_of<kIsSmall>(frequency * u[i]);
    if constexpr (kSums) {
      first += dv[i] * u[i] * s.of_double;
      second += dv[i] * s.square;
    }
    dv[i] *= A(1) + ratio * s.of_double;
  }
  if constexpr (kSums) {
    sums[0] += first;
    sums[1] += second;
  }
}

// The gradient of a sample of the signal, repeated ones included.
template <class A>
A gradient_at(const SnakeFrame<A>& f, const SnakeSamples<A>& du, int64_t sample) {
  const int64_t even = sample - f.first - f.up.even_shift, odd = sample - f.first - f.up.odd_shift;
  A sum = 0;
  for (int64_t i = 0; i < f.up.even_taps; ++i)
    if (even + i >= 0 && even + i < f.count) sum += f.up.even[i] * du.even[even + i];
  for (int64_t i = 0; i < f.up.odd_taps; ++i)
    if (odd + i >= 0 && odd + i < f.count) sum += f.up.odd[i] * du.odd[odd + i];
  return sum;
}

template <class A>
void dx_of_tile(const SnakeFrame<A>& f, const SnakeSamples<A>& du, A* dx) {
  const SnakeTile& t = f.tile;
  decimate(f.up, du, f.halo, dx, t.size);
  for (int64_t i = 0; i < t.repeated; ++i) {
    if (t.start == 0) dx[0] += gradient_at(f, du, -1 - i);
    if (t.start + t.size == t.length) dx[t.size - 1] += gradient_at(f, du, t.length + i);
  }
}

// A channel of a tile: x and dy [window]; x is overwritten with dx [tile.size].
template <class A>
void anti_aliased_grad_row(const SnakeFrame<A>& f, int64_t channel, A* x, A* dy) {
  const SnakeTile& t = f.tile;
  const A frequency = static_cast<const A*>(t.frequency)[channel];
  const A inverse = static_cast<const A*>(t.inverse)[channel];
  SnakeSamples<A> u, dv;
  extend(f, x, t.repeated);
  extend(f, dy, 0);
  interpolate(f.up, x, f.halo, u, f.count);
  interpolate(f.down, dy, f.halo, dv, f.count);
  fold_ends(f, dv);
  A* sums = t.sums == nullptr ? nullptr : static_cast<A*>(t.sums) + channel * t.sums_stride;
  specialized(are_small(f, x, frequency), [&](auto is_small) {
    const auto activate = [&](auto has_sums, int64_t from, int64_t size) {
      constexpr bool kIsSmall = decltype(is_small)::value;
      activate_samples_grad<kIsSmall, has_sums>(u.even + from, dv.even + from, size, frequency, inverse, sums);
      activate_samples_grad<kIsSmall, has_sums>(u.odd + from, dv.odd + from, size, frequency, inverse, sums);
    };
    specialized(sums != nullptr, [&](auto has_sums) { activate(has_sums, f.halo, t.size); });
    if (t.output == nullptr) return;
    activate(std::false_type{}, 0, f.halo);  // other tiles add these to their sums
    activate(std::false_type{}, f.halo + t.size, f.halo);
  });
  if (t.output != nullptr) dx_of_tile(f, dv, x);
}

template <class T, int kRows>
void anti_aliased_grad_tile(const SnakeTile& t) {
  using A = compute_t<T>;
  const SnakeFrame<A> frame(t);
  alignas(64) A x[kRows][kSnakeWindow], dy[kRows][kSnakeWindow];
  fetch<T, kRows>(frame, t.x, x);
  fetch<T, kRows>(frame, t.dy, dy);
  for (int64_t channel = 0; channel < t.channels; ++channel)
    anti_aliased_grad_row(frame, channel, x[channel], dy[channel]);
  if (t.output != nullptr) put<T, kRows>(t, x);
}

template <class T>
void anti_aliased_snake_grad(const SnakeTile& t) {
  t.stride == 1 ? anti_aliased_grad_tile<T, 1>(t) : anti_aliased_grad_tile<T, kSnakeChannels>(t);
}

}  // namespace
}  // namespace fastgan
