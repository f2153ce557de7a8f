// Snake over whole tensors: splits them among threads. As in losses.cpp, partial sums belong to index ranges and are
// added in order.
#include "snake.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "huge_pages.h"
#include "kernels.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

int64_t elements(const SnakeCall& call) { return call.samples * call.channels * call.length; }

void advise(const SnakeCall& call, void* output) {
  if (output != nullptr) advise_huge_pages(output, elements(call) * bytes_of(call.dtype));
}

// What Snake needs of a channel.
struct SnakeNumbers {
  double frequency, magnitude, divisor;  // a; beta or its exponential; b
};

SnakeNumbers numbers_of(const SnakeCall& call, int64_t channel) {
  const auto number = [&](PerChannel numbers) {
    const double value = load_element(advance(numbers.at, channel, numbers.dtype), numbers.dtype);
    return call.log_scale ? std::exp(value) : value;
  };
  const double frequency = number(call.alpha);
  const double magnitude = call.beta.at == nullptr ? frequency : number(call.beta);
  return {frequency, magnitude, magnitude + call.eps};
}

// a and 1 / b of each channel, in the compute type; all channels `repeats` times.
template <class A>
struct Factors {
  std::vector<A> frequency, inverse;
  explicit Factors(const SnakeCall& call, int64_t repeats = 1) {
    frequency.reserve(static_cast<size_t>(call.channels * repeats));
    inverse.reserve(static_cast<size_t>(call.channels * repeats));
    for (int64_t c = 0; c < call.channels; ++c) {
      const SnakeNumbers numbers = numbers_of(call, c);
      frequency.push_back(static_cast<A>(numbers.frequency));
      inverse.push_back(static_cast<A>(1 / numbers.divisor));
    }
    for (int64_t i = call.channels; i < call.channels * repeats; ++i) {
      frequency.push_back(frequency[i - call.channels]);
      inverse.push_back(inverse[i - call.channels]);
    }
  }
};

// For each channel, the sums of dy u sin(2 a u) and of dy sin(a u)^2.
struct SnakeSums {
  std::vector<double> of_frequency, of_magnitude;
  explicit SnakeSums(int64_t channels)
      : of_frequency(static_cast<size_t>(channels), 0.0), of_magnitude(static_cast<size_t>(channels), 0.0) {}
};

void store_gradients(const SnakeCall& call, const SnakeSums& sums, const SnakeGrad& grad) {
  const auto store_at = [](PerChannel numbers, int64_t channel, double value) {
    if (numbers.at != nullptr) store_element(advance(numbers.at, channel, numbers.dtype), numbers.dtype, value);
  };
  for (int64_t c = 0; c < call.channels; ++c) {
    const SnakeNumbers n = numbers_of(call, c);
    const double of_frequency = sums.of_frequency[c] / n.divisor * (call.log_scale ? n.frequency : 1.0);
    const double of_magnitude =
        -sums.of_magnitude[c] / (n.divisor * n.divisor) * (call.log_scale ? n.magnitude : 1.0);
    store_at(grad.alpha, c, call.beta.at == nullptr ? of_frequency + of_magnitude : of_frequency);
    store_at(grad.beta, c, of_magnitude);
  }
}

bool has_sums(const SnakeGrad& grad) { return grad.alpha.at != nullptr || grad.beta.at != nullptr; }

// Channels innermost: a matrix of channels * repeats columns, whose last row may be shorter. Few channels are repeated,
// so that loops over a row are long. A chunk has enough rows that its sums are small compared with it.
struct Lines {
  int64_t size, repeats, columns, each, count;
  explicit Lines(const SnakeCall& call)
      : size(elements(call)), repeats(std::max<int64_t>(256 / call.channels, 1)), columns(call.channels * repeats),
        each(columns * std::clamp<int64_t>(4 * kChunk / columns, 16, 64)), count((size + each - 1) / each) {}
  int64_t start(int64_t chunk) const { return chunk * each; }
  int64_t extent(int64_t chunk) const { return std::min(each, size - start(chunk)); }
  int64_t channel(int64_t) const { return 0; }
  int64_t numbers() const { return columns; }  // for which a chunk has sums
};

// Planes of one channel, in chunks; a piece of work has several if they are short.
struct Planes {
  int64_t length, channels, chunks_each, count, repeats = 1, columns = 0;
  explicit Planes(const SnakeCall& call)
      : length(call.length), channels(call.channels), chunks_each(chunks_of(length)),
        count(call.samples * channels * chunks_each) {}
  int64_t start(int64_t chunk) const { return chunk / chunks_each * length + chunk % chunks_each * kChunk; }
  int64_t extent(int64_t chunk) const { return std::min(kChunk, length - chunk % chunks_each * kChunk); }
  int64_t channel(int64_t chunk) const { return chunk / chunks_each % channels; }
  int64_t numbers() const { return 1; }
};

// Calls kernel(chunk) for every part of a tensor. Without sums, has_sums is false and the result empty.
template <class A, class Parts, class Kernel>
std::vector<A> for_each_part(const SnakeCall& call, const void* dy, void* output, bool has_sums, const Kernel& kernel) {
  const Parts parts(call);
  const Factors<A> factors(call, parts.repeats);
  std::vector<A> sums(has_sums ? static_cast<size_t>(2 * parts.count * parts.numbers()) : 0, A(0));
  const int64_t step = std::max<int64_t>(kChunk * parts.count / elements(call), 1);
  for_each_range(parts.count, step, 4 * elements(call), call.where, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t start = parts.start(part), channel = parts.channel(part);
      kernel(SnakeChunk{advance(call.input, start, call.dtype), advance(dy, start, call.dtype),
                        advance(output, start, call.dtype), parts.extent(part), parts.columns,
                        &factors.frequency[channel], &factors.inverse[channel],
                        has_sums ? &sums[2 * part * parts.numbers()] : nullptr});
    }
  });
  return sums;
}

// Adds the partial sums of all parts, in order.
template <class A, class Parts>
SnakeSums added(const SnakeCall& call, const std::vector<A>& partials) {
  const Parts parts(call);
  SnakeSums sums(call.channels);
  const A* from = partials.data();
  for (int64_t part = 0; part < parts.count; ++part) {
    for (std::vector<double>* each : {&sums.of_frequency, &sums.of_magnitude})
      for (int64_t i = 0; i < parts.numbers(); ++i)
        (*each)[(parts.channel(part) + i) % call.channels] += static_cast<double>(*from++);
  }
  return sums;
}

template <class A, class Parts, class Kernel>
void backward(const SnakeCall& call, const SnakeGrad& grad, const Kernel& kernel) {
  const std::vector<A> partials = for_each_part<A, Parts>(call, grad.incoming, grad.input, has_sums(grad), kernel);
  if (has_sums(grad)) store_gradients(call, added<A, Parts>(call, partials), grad);
}

bool is_rows(const SnakeCall& call) { return call.channels_last || call.length == 1; }

// Calls body with a number of the type that kernels compute in.
template <class Body>
void with_compute_type(DType dtype, const Body& body) {
  dtype == DType::f64 ? body(double()) : body(float());
}

template <class A>
SnakePhases<A> phases_of(const void* filter, DType dtype, int taps, int offset, double factor) {
  SnakePhases<A> phases{};
  phases.even_shift = offset / 2;
  phases.odd_shift = (offset + 1) / 2;
  for (int i = 0; i < taps; ++i) {
    const A tap = static_cast<A>(factor * load_element(advance(filter, i, dtype), dtype));
    if ((i - offset) % 2 == 0)
      phases.even[phases.even_taps++] = tap;
    else
      phases.odd[phases.odd_taps++] = tap;
  }
  return phases;
}

// A bound of the filtered signal, for a signal within [-1, 1]; slightly larger, for rounding errors.
template <class A>
double gain_of(const SnakePhases<A>& phases) {
  double even = 0, odd = 0;
  for (int i = 0; i < phases.even_taps; ++i) even += std::abs(static_cast<double>(phases.even[i]));
  for (int i = 0; i < phases.odd_taps; ++i) odd += std::abs(static_cast<double>(phases.odd[i]));
  return 1.001 * std::max(even, odd);
}

// The tiles of all signals, in order. Without channels_last a tile has one channel.
struct SnakeTiles {
  int64_t length, channels, channels_each, blocks, tiles_each, count;
  bool channels_last;
  explicit SnakeTiles(const SnakeCall& call)
      : length(call.length), channels(call.channels), channels_each(call.channels_last ? kSnakeChannels : 1),
        blocks((channels + channels_each - 1) / channels_each), tiles_each((length + kSnakeTile - 1) / kSnakeTile),
        count(call.samples * blocks * tiles_each), channels_last(call.channels_last) {}
  int64_t sample(int64_t i) const { return i / (blocks * tiles_each); }
  // Neighbours in memory are next to each other.
  int64_t tile(int64_t i) const { return channels_last ? i / blocks % tiles_each : i % tiles_each; }
  int64_t channel(int64_t i) const { return (channels_last ? i % blocks : i / tiles_each % blocks) * channels_each; }
  int64_t signal(int64_t i) const { return sample(i) * channels + channel(i); }
  int64_t base(int64_t i) const {
    return channels_last ? sample(i) * length * channels + channel(i) : signal(i) * length;
  }
  int64_t start(int64_t i) const { return tile(i) * kSnakeTile; }
};

// Calls kernel(tile) for all tiles. The result, if has_sums, is [samples, channels, tiles of a signal, 2].
template <class A, class Kernel>
std::vector<A> for_each_tile(const SnakeCall& call, const SnakeFilters& filters, const void* dy, void* output,
                             bool has_sums, const Kernel& kernel) {
  const SnakeTiles tiles(call);
  const Factors<A> factors(call);
  const auto up = phases_of<A>(filters.up, filters.up_dtype, filters.up_taps, (filters.up_taps - 2) / 2, 2);
  const auto down = phases_of<A>(filters.down, filters.down_dtype, filters.down_taps, (filters.down_taps - 1) / 2, 1);
  const int64_t halo = std::max(filters.up_taps, filters.down_taps) <= 16 ? 8 : kMostSnakeHalo;
  std::vector<A> sums(has_sums ? static_cast<size_t>(2 * call.samples * call.channels * tiles.tiles_each) : 0, A(0));
  const int64_t stride = call.channels_last ? call.channels : 1;
  const int64_t step = std::max<int64_t>(kChunk * tiles.count / elements(call), 1);
  for_each_range(tiles.count, step, 8 * elements(call), call.where, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t base = tiles.base(i), start = tiles.start(i), channel = tiles.channel(i);
      kernel(SnakeTile{advance(call.input, base, call.dtype), advance(dy, base, call.dtype),
                       advance(output, base, call.dtype), start, std::min(kSnakeTile, call.length - start),
                       call.length, stride, std::min(tiles.channels_each, call.channels - channel),
                       &factors.frequency[channel], &factors.inverse[channel], &up, &down, halo,
                       filters.up_taps / 2 - 1, gain_of(up),
                       has_sums ? &sums[2 * (tiles.signal(i) * tiles.tiles_each + tiles.tile(i))] : nullptr,
                       2 * tiles.tiles_each});
    }
  });
  return sums;
}

// Adds the partial sums of all tiles, in order.
template <class A>
SnakeSums added_tiles(const SnakeCall& call, const std::vector<A>& partials) {
  const int64_t tiles = SnakeTiles(call).tiles_each;
  SnakeSums sums(call.channels);
  const A* from = partials.data();
  for (int64_t signal = 0; signal < call.samples * call.channels; ++signal)
    for (int64_t tile = 0; tile < tiles; ++tile, from += 2) {
      sums.of_frequency[signal % call.channels] += static_cast<double>(from[0]);
      sums.of_magnitude[signal % call.channels] += static_cast<double>(from[1]);
    }
  return sums;
}

}  // namespace

void snake(const SnakeCall& call, void* output) {
  if (elements(call) == 0) return;
  advise(call, output);
  with_compute_type(call.dtype, [&](auto zero) {
    using A = decltype(zero);
    const int dtype = static_cast<int>(call.dtype);
    if (is_rows(call))
      for_each_part<A, Lines>(call, nullptr, output, false, kernels().snake_rows[dtype]);
    else
      for_each_part<A, Planes>(call, nullptr, output, false, kernels().snake_plane[dtype]);
  });
}

void snake_backward(const SnakeCall& call, const SnakeGrad& grad) {
  if (elements(call) == 0) return store_gradients(call, SnakeSums(call.channels), grad);
  advise(call, grad.input);
  with_compute_type(call.dtype, [&](auto zero) {
    using A = decltype(zero);
    const int dtype = static_cast<int>(call.dtype);
    if (is_rows(call))
      backward<A, Lines>(call, grad, kernels().snake_grad_rows[dtype]);
    else
      backward<A, Planes>(call, grad, kernels().snake_grad_plane[dtype]);
  });
}

void anti_aliased_snake(const SnakeCall& call, const SnakeFilters& filters, void* output) {
  if (elements(call) == 0) return;
  advise(call, output);
  with_compute_type(call.dtype, [&](auto zero) {
    const auto kernel = kernels().anti_aliased_snake[static_cast<int>(call.dtype)];
    for_each_tile<decltype(zero)>(call, filters, nullptr, output, false, kernel);
  });
}

void anti_aliased_snake_backward(const SnakeCall& call, const SnakeFilters& filters, const SnakeGrad& grad) {
  if (elements(call) == 0) return store_gradients(call, SnakeSums(call.channels), grad);
  advise(call, grad.input);
  with_compute_type(call.dtype, [&](auto zero) {
    const auto kernel = kernels().anti_aliased_snake_grad[static_cast<int>(call.dtype)];
    const auto partials =
        for_each_tile<decltype(zero)>(call, filters, grad.incoming, grad.input, has_sums(grad), kernel);
    if (has_sums(grad)) store_gradients(call, added_tiles(call, partials), grad);
  });
}

}  // namespace fastgan
