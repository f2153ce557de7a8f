// Anti-aliased Snake. Nothing of the upsampled signal is written to global memory.
//
// With filters of 12 taps, the usual ones, threads walk along the signals (snake_walk.cuh). With other filters, and for
// double, which would not fit into registers, a block computes a tile of samples, with v, or the gradient of u, in
// shared memory.
#include "snake_walk.cuh"
#include "stripes.cuh"

namespace fastgan::cuda {
namespace {

// --- filters of 12 taps

// y: like the input
template <class T, int V>
__global__ void __launch_bounds__(kThreads, 2) walk_kernel(SnakeCall call, SnakeFilters filters, Runs runs, T* y) {
  __shared__ Taps<T> taps;
  taps.load(filters);
  const Run run = Run::of(call, runs);
  if (!run.is_any) return;
  ForwardWalk<T, V> walk(call, taps, run, load_curve<T>(call, run.channel), y);
  follow<T, V>(walk, run);
}

// dy, dx: like the input; partials: [2, size], an element for each run, in the order of parts_of_rows()
template <class T, int V>
__global__ void __launch_bounds__(kThreads, 2)
    walk_backward_kernel(SnakeCall call, SnakeFilters filters, Runs runs, const T* dy, T* dx, compute_t<T>* partials,
                         int64_t size) {
  __shared__ Taps<T> taps;
  __shared__ compute_t<T> factors[kThreads];  // until a walk ends, as registers are scarce
  taps.load(filters);
  const Run run = Run::of(call, runs);
  if (!run.is_any) return;
  BackwardWalk<T, V> walk(call, taps, run, load_curve<T>(call, run.channel), dy, dx);
  factors[threadIdx.x] = walk.factor;
  follow<T, V>(walk, run);
  if (partials == nullptr) return;
  walk.sums.of_beta *= factors[threadIdx.x];  // as the gradient of v was divided by it
  walk.sums.store(partials, size, int64_t{blockIdx.x} * kThreads + threadIdx.x);
}

// --- any filters

// Blocks have tiles of `length` samples and `across` channels; `count` of a row, `stripes` for all channels.
struct Tiles {
  int length, across;
  int64_t count, stripes;
};

Tiles tiles_of(const SnakeCall& s) {
  constexpr int kLength = 512, kShortLength = 32;
  if (!s.channels_last) return {kLength, 1, ceil_div(s.length, kLength), s.channels};
  int across = 1;
  while (across < 32 && across < s.channels) across *= 2;
  return {kShortLength, across, ceil_div(s.length, kShortLength), ceil_div(s.channels, across)};
}

// Samples of the upsampled signal that a tile needs, at most.
int64_t upsampled_length(const Tiles& tiles) { return 2 * (tiles.length + kMostTaps); }

// A block's tile, and a thread's channel in it.
template <class T>
struct Tile {
  using A = compute_t<T>;
  int up_taps, down_taps, up, first, down;  // as in padding(), fastgan/kernels/reference_snake.py
  int64_t sample, channel, which, begin, end, offset, stride, length;
  int across, column, row, step;  // the thread's samples are `step` apart
  bool is_any;                    // else the thread has no channel

  __device__ Tile(const SnakeCall& s, const SnakeFilters& f, const Tiles& tiles)
      : up_taps(f.up_taps), down_taps(f.down_taps), up(f.up_taps / 2 - 1), first((f.up_taps - 2) / 2),
        down((f.down_taps - 1) / 2), length(s.length), across(tiles.across) {
    column = static_cast<int>(threadIdx.x) % across;
    row = static_cast<int>(threadIdx.x) / across;
    step = kThreads / across;
    int64_t rest = blockIdx.x;
    which = rest % tiles.count;
    rest /= tiles.count;
    channel = rest % tiles.stripes * across + column;
    sample = rest / tiles.stripes;
    begin = which * tiles.length;
    end = begin + tiles.length < length ? begin + tiles.length : length;
    stride = s.channels_last ? s.channels : 1;
    offset = s.channels_last ? sample * length * s.channels + channel : (sample * s.channels + channel) * length;
    is_any = channel < s.channels;
  }
  // Calls work(at) for the thread's samples from `from` to below `to`.
  template <class Work>
  __device__ void for_each(int64_t from, int64_t to, const Work& work) const {
    if (is_any)
      for (int64_t at = from + row; at < to; at += step) work(at);
  }
  __device__ int64_t within(int64_t at, int64_t size) const { return at < 0 ? 0 : at < size ? at : size - 1; }

  // Sample n of the upsampled signal.
  __device__ A upsampled(const T* x, const Taps<T>& taps, int64_t n) const {
    A sum = 0;
    for (int k = static_cast<int>((n + first) & 1); k < up_taps; k += 2) {
      const int64_t at = (n + first - k) / 2;
      if (at >= -up && at < length + up) sum += taps.up[k] * load(x[within(at, length) * stride]);
    }
    return sum;
  }
  // The gradient of sample m of v, which may lie past an end.
  __device__ A gradient_of_v(const T* dy, const Taps<T>& taps, int64_t m) const {
    A sum = 0;
    for (int k = static_cast<int>((m + down) & 1); k < down_taps; k += 2) {
      const int64_t t = (m + down - k) / 2;
      if (t >= 0 && t < length) sum += taps.down[k] * load(dy[t * stride]);
    }
    return sum;
  }
};

// output: like the input
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    tile_any_kernel(SnakeCall call, SnakeFilters filters, Tiles tiles, T* output) {
  using A = compute_t<T>;
  FASTGAN_DYNAMIC_SHARED(A, v);  // [samples, across], from sample `from` on
  __shared__ Taps<T> taps;
  taps.load(filters);
  const Tile<T> tile(call, filters, tiles);
  const int64_t size = 2 * tile.length;
  const int64_t from = tile.within(2 * tile.begin - tile.down, size);
  const int64_t to = tile.within(2 * tile.end - 3 - tile.down + tile.down_taps, size) + 1;
  const auto place = [&](int64_t m) { return (m - from) * tile.across + tile.column; };
  const T* const x = static_cast<const T*>(call.input) + tile.offset;
  const Curve<A> curve = tile.is_any ? load_curve<T>(call, tile.channel) : Curve<A>{};
  tile.for_each(from, to, [&](int64_t m) {
    v[place(m)] = curve.template activated<T, false>(tile.upsampled(x, taps, m));
  });
  __syncthreads();
  tile.for_each(tile.begin, tile.end, [&](int64_t t) {
    A sum = 0;
    for (int k = 0; k < tile.down_taps; ++k) sum += taps.down[k] * v[place(tile.within(2 * t + k - tile.down, size))];
    store(output + tile.offset + t * tile.stride, sum);
  });
}

// incoming, output: like the input; partials: [2, outer, channels, inner], see parts_of_rows()
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    tile_backward_any_kernel(SnakeCall call, SnakeFilters filters, Tiles tiles, const T* incoming, T* output,
                             compute_t<T>* partials, int64_t size_of_partials) {
  using A = compute_t<T>;
  FASTGAN_DYNAMIC_SHARED(A, du);  // [samples, across], from sample `from` on
  __shared__ Taps<T> taps;
  taps.load(filters);
  const Tile<T> tile(call, filters, tiles);
  const int64_t size = 2 * tile.length;
  // x's copies past an end belong to the tile that has the end
  const int64_t begin = tile.begin == 0 ? -tile.up : tile.begin;
  const int64_t end = tile.end == tile.length ? tile.length + tile.up : tile.end;
  const int64_t from = 2 * begin - tile.first < 0 ? 0 : 2 * begin - tile.first;
  const int64_t last = 2 * (end - 1) - tile.first + tile.up_taps, to = last < size ? last : size;
  const auto place = [&](int64_t n) { return (n - from) * tile.across + tile.column; };
  const T *const x = static_cast<const T*>(call.input) + tile.offset, *const dy = incoming + tile.offset;
  const Curve<A> curve = tile.is_any ? load_curve<T>(call, tile.channel) : Curve<A>{};
  SnakeSums<A> sums{};
  tile.for_each(from, to, [&](int64_t n) {
    A dv = tile.gradient_of_v(dy, taps, n);
    for (int64_t m = n == 0 ? -tile.down : 0; m < 0; ++m) dv += tile.gradient_of_v(dy, taps, m);
    for (int64_t m = size; n == size - 1 && m < size + tile.down_taps; ++m) dv += tile.gradient_of_v(dy, taps, m);
    const SnakeSums<A> so_far = sums;
    du[place(n)] = sums.template add<T, false>(curve.frequency, curve.bend(), dv, tile.upsampled(x, taps, n));
    if (n < 2 * tile.begin || n >= 2 * tile.end) sums = so_far;  // other tiles count it
  });
  __syncthreads();
  const auto gradient_of_x = [&](int64_t at) {
    A sum = 0;
    for (int k = 0; k < tile.up_taps; ++k) {
      const int64_t n = 2 * at + k - tile.first;
      if (n >= 0 && n < size) sum += taps.up[k] * du[place(n)];
    }
    return sum;
  };
  if (output != nullptr)
    tile.for_each(tile.begin, tile.end, [&](int64_t at) {
      A sum = gradient_of_x(at);
      for (int64_t copy = at == 0 ? -tile.up : 0; copy < 0; ++copy) sum += gradient_of_x(copy);
      for (int64_t copy = tile.length; at == tile.length - 1 && copy < tile.length + tile.up; ++copy)
        sum += gradient_of_x(copy);
      store(output + tile.offset + at * tile.stride, sum);
    });
  if (partials == nullptr) return;
  A both[2] = {sums.of_alpha, sums.of_beta};
  add_down(both, tile.across);
  if (tile.row != 0 || !tile.is_any) return;
  const int64_t row = tile.sample * (call.channels_last ? tiles.count : call.channels);
  const int64_t at = call.channels_last ? (row + tile.which) * call.channels + tile.channel
                                        : (row + tile.channel) * tiles.count + tile.which;
  SnakeSums<A>{both[0], both[1]}.store(partials, size_of_partials, at);
}

// --- launches

bool is_walked(const SnakeCall& call, const SnakeFilters& filters) {
  return call.dtype != DType::f64 && filters.up_taps == kTaps && filters.down_taps == kTaps;
}

SnakeParts parts_of(const SnakeCall& call, const SnakeFilters& filters) {
  return parts_of_rows(call, is_walked(call, filters) ? runs_of(call).count : tiles_of(call).count);
}

// Whether a walk can load and store 16 bytes at a time. It has the same results if not.
bool is_wide(const SnakeCall& call, const void* output, const void* incoming) {
  return !call.channels_last && call.length % kGroup == 0 && is_aligned(call.input) && is_aligned(output) &&
         is_aligned(incoming);
}

template <class T, int V>
void walk(const SnakeCall& call, const SnakeFilters& filters, T* y) {
  const Runs runs = runs_of(call);
  const int64_t blocks = ceil_div(call.samples * call.channels * runs.count, kThreads);
  FASTGAN_LAUNCH((walk_kernel<T, V>), blocks, call.where, call, filters, runs, y);
}

template <class T, int V>
void walk_backward(const SnakeCall& call, const SnakeFilters& filters, const T* dy, T* dx, compute_t<T>* partials) {
  const Runs runs = runs_of(call);
  const int64_t blocks = ceil_div(call.samples * call.channels * runs.count, kThreads);
  FASTGAN_LAUNCH((walk_backward_kernel<T, V>), blocks, call.where, call, filters, runs, dy, dx, partials,
                 parts_of(call, filters).size());
}

template <class T>
void forward(const SnakeCall& call, const SnakeFilters& filters, T* y) {
  if constexpr (sizeof(T) < 8)
    if (is_walked(call, filters)) {
      if (is_wide(call, y, nullptr)) return walk<T, kVector<T>>(call, filters, y);
      return walk<T, 1>(call, filters, y);
    }
  const Tiles tiles = tiles_of(call);
  const int64_t bytes = upsampled_length(tiles) * tiles.across * static_cast<int64_t>(sizeof(compute_t<T>));
  FASTGAN_LAUNCH_WITH_SHARED((tile_any_kernel<T>), call.samples * tiles.stripes * tiles.count, bytes, call.where, call,
                             filters, tiles, y);
}

template <class T>
void backward(const SnakeCall& call, const SnakeFilters& filters, const T* dy, T* dx, compute_t<T>* partials) {
  if constexpr (sizeof(T) < 8)
    if (is_walked(call, filters)) {
      if (is_wide(call, dy, dx)) return walk_backward<T, kVector<T>>(call, filters, dy, dx, partials);
      return walk_backward<T, 1>(call, filters, dy, dx, partials);
    }
  const Tiles tiles = tiles_of(call);
  const int64_t bytes = upsampled_length(tiles) * tiles.across * static_cast<int64_t>(sizeof(compute_t<T>));
  FASTGAN_LAUNCH_WITH_SHARED((tile_backward_any_kernel<T>), call.samples * tiles.stripes * tiles.count, bytes,
                             call.where, call, filters, tiles, dy, dx, partials, parts_of(call, filters).size());
}

}  // namespace

int64_t anti_aliased_snake_partials(const SnakeCall& call, const SnakeFilters& filters) {
  return 2 * parts_of(call, filters).size();
}

cudaError_t anti_aliased_snake(const SnakeCall& call, const SnakeFilters& filters, void* output) {
  return with_type(call.dtype, [&](auto zero) {
    forward(call, filters, static_cast<decltype(zero)*>(output));
    return cudaGetLastError();
  });
}

cudaError_t anti_aliased_snake_backward(const SnakeCall& call, const SnakeFilters& filters, const SnakeGrad& grad,
                                        void* partials) {
  const void* sums = has_sums(grad) ? partials : nullptr;
  const cudaError_t error = with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    backward(call, filters, static_cast<const T*>(grad.incoming), static_cast<T*>(grad.input),
             static_cast<compute_t<T>*>(const_cast<void*>(sums)));
    return cudaGetLastError();
  });
  if (error != cudaSuccess || sums == nullptr) return error;
  return add_up_snake(call, grad, sums, parts_of(call, filters));
}

}  // namespace fastgan::cuda
