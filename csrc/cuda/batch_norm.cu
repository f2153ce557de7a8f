// Statistics take one launch; normalize + activate another. The backward pass takes one for the sums and one for dx in
// training, and one in evaluation. For rows and ranges see layers.cuh. The last block to finish for a stripe or channel
// combines the partial results of ranges, in order.
#include "batch_norm.h"

#include "channels.cuh"
#include "layers.cuh"

namespace fastgan::cuda {
namespace {

// --- a thread's vectors and channels. kRows: channels are columns, V to a vector; otherwise a block has one channel.

template <int V, bool kRows>
constexpr int kChannels = kRows ? V : 1;

template <int V, bool kRows>
__device__ int64_t first_channel(const Grid& g) {
  return kRows ? place(g, V).column : blockIdx.x / g.ranges;
}

// Where a thread's vectors begin: `at`, and `apart` elements from each to the next.
struct Vectors {
  int64_t at, apart;
  __device__ int64_t operator[](int i) const { return at + i * apart; }
};

// Calls work(count, aligned, dense, strided) for a thread's vectors: `count` of them, in a contiguous array and, for
// kRows, in one whose rows are `stride` apart. See in_pairs.
template <int V, bool kRows, class Work>
__device__ void for_vectors(const Grid& g, int64_t channels, int64_t stride, const Work& work) {
  if constexpr (kRows) {
    const Place p = place(g, V);
    if (p.column < g.columns)
      in_pairs(p.row, p.stop, p.step, g.aligned, [&](auto count, auto aligned, int64_t row) {
        work(count, aligned, Vectors{row * g.columns + p.column, p.step * g.columns},
             Vectors{row * stride + p.column, p.step * stride});
      });
  } else {
    const int64_t channel = blockIdx.x / g.ranges, range = blockIdx.x % g.ranges;
    const int x = static_cast<int>(threadIdx.x) % g.across, step = kThreads / g.across;
    const int64_t stop = (range + 1) * g.span < g.rows ? (range + 1) * g.span : g.rows;
    const int64_t apart = int64_t{g.across} * V;
    for (int64_t row = range * g.span + threadIdx.x / g.across; row < stop; row += step)
      in_pairs(int64_t{x} * V, g.columns, apart, g.aligned, [&](auto count, auto aligned, int64_t column) {
        const Vectors vectors{(row * channels + channel) * g.columns + column, apart};
        work(count, aligned, vectors, vectors);
      });
  }
}

// Sums over the threads of a block that share channels. All of them get the results.
template <bool kRows, class A, int C>
__device__ void add_up_threads(A (&sums)[C], int across) {
  if constexpr (kRows)
    add_down(sums, across);
  else
    sums[0] = block_sum_for_all(sums[0]);
}

// Partials of one kind, [stripes, ranges, columns of a stripe] or [channels, ranges].
template <int V, bool kRows>
__device__ int64_t partials_of_a_kind(const Grid& g, int64_t channels) {
  return kRows ? g.stripes * g.ranges * g.across * V : channels * g.ranges;
}

// Calls store(i, at) for the channels i of this thread whose partial results it stores at `at`.
template <int V, bool kRows, class Store>
__device__ void for_own_partials(const Grid& g, const Store& store) {
  if constexpr (kRows) {
    const int64_t stripe = blockIdx.x % g.stripes, range = blockIdx.x / g.stripes;
    if (static_cast<int>(threadIdx.x) < g.across) {
#pragma unroll
      for (int i = 0; i < V; ++i)
        store(i, ((stripe * g.ranges + range) * g.across + static_cast<int>(threadIdx.x)) * V + i);
    }
  } else {
    if (threadIdx.x == 0) store(0, blockIdx.x);
  }
}

// How the last block reads partials: a thread has kWidth channels from `channel` on, in ranges from `first` on, `step`
// apart, at `at` and each `row` further. `across` threads share a range.
template <class A, bool kRows>
struct Merge {
  static constexpr int kWidth = kRows ? kVector<A> : 1;
  int64_t channel, first, at, row;
  int across, step;
  bool writes;  // this thread writes its channels' results, those below the number of channels

  template <int V>
  __device__ static Merge of(const Grid& g) {
    if constexpr (kRows) {
      const int of_stripe = g.across * V, across = of_stripe / kWidth;
      const int64_t stripe = blockIdx.x % g.stripes;
      const int column = static_cast<int>(threadIdx.x) % across * kWidth;
      const int first = static_cast<int>(threadIdx.x) / across;
      return {stripe * of_stripe + column, first, (stripe * g.ranges + first) * of_stripe + column, of_stripe, across,
              kThreads / across, first == 0};
    } else {
      const int64_t channel = blockIdx.x / g.ranges, first = threadIdx.x;
      return {channel, first, channel * g.ranges + first, 1, 1, kThreads, threadIdx.x == 0};
    }
  }

  __device__ static Vector<A, kWidth> load(const A* from) {
    if constexpr (kRows)
      return load_stored(from);
    else
      return {{__ldcg(from)}};
  }
};

// Counts this block; true in the last one of its stripe or channel.
template <bool kRows>
__device__ bool is_last(const Grid& g, unsigned* counters) {
  const int64_t which = kRows ? blockIdx.x % g.stripes : blockIdx.x / g.ranges;
  return is_last_of(static_cast<unsigned>(g.ranges), counters + which);
}

// --- numbers of channels

// A channel's factor has the error of one approximation, which PyTorch's kernels have too.
__device__ inline float inverse_root(float x) {
#if defined(__CUDA_ARCH__)
  return rsqrtf(x);
#else
  return 1.0f / sqrtf(x);
#endif
}
__device__ inline double inverse_root(double x) { return 1.0 / sqrt(x); }

template <class T>
__device__ compute_t<T> load_inverse(const BatchNormCall& call, int64_t channel) {
  return inverse_root(load_number<T>(call.var, channel, 1) + static_cast<compute_t<T>>(call.eps));
}

// z = (x - center) * factor + shift
template <class A, int C>
struct Norm {
  A center[C] = {}, factor[C] = {}, shift[C] = {};
};

template <class T, int C>
__device__ Norm<compute_t<T>, C> load_norm(const BatchNormCall& call, int64_t channel) {
  Norm<compute_t<T>, C> norm;
  if (channel < call.shape.channels) {
#pragma unroll
    for (int i = 0; i < C; ++i) {
      norm.center[i] = load_number<T>(call.mean, channel + i, 0);
      norm.factor[i] = load_number<T>(call.weight, channel + i, 1) * load_inverse<T>(call, channel + i);
      norm.shift[i] = load_number<T>(call.bias, channel + i, 0);
    }
  }
  return norm;
}

// --- statistics

// Of some values of a channel: their mean less the channel's first value, the mean's rounding error, and the sum of
// squared distances from the mean. Subtracting a value keeps the digits of a mean that is large compared to these
// distances. It loses none, even if that value is an outlier: the variance contains its distance from the mean.
template <class A>
struct Moments {
  A mean, rest, squares;
};

// Merges moments by Chan's formula for any number of parts. each(work) calls work(i, size, moments) for a thread's
// parts of channel i; `size` is the number of all values.
template <bool kRows, class A, int C, class Each>
__device__ void merge(const Each& each, A size, int across, Moments<A> (&merged)[C]) {
  A mean[C] = {}, rest[C] = {}, squares[C] = {};
  each([&](int i, A count, const Moments<A>& part) { mean[i] += count * part.mean; });
  add_up_threads<kRows>(mean, across);
#pragma unroll
  for (int i = 0; i < C; ++i) mean[i] /= size;
  each([&](int i, A count, const Moments<A>& part) {
    const A distance = part.mean - mean[i] + part.rest;
    rest[i] += count * distance;
    squares[i] += part.squares + count * distance * distance;
  });
  add_up_threads<kRows>(rest, across);
  add_up_threads<kRows>(squares, across);
#pragma unroll
  for (int i = 0; i < C; ++i) merged[i] = {mean[i], rest[i] / size, squares[i]};
}

template <class A>
struct Statistics {
  A *mean, *var;  // [channels]
  PerChannel running_mean, running_var;
  double momentum;
  A* partials;  // moments
  unsigned* counters;
};

template <class T>
__device__ void update(const PerChannel& running, int64_t channel, compute_t<T> batch, compute_t<T> momentum) {
  const compute_t<T> before = load_number<T>(running, channel, 0);
  store_number<T>(running, channel, (1 - momentum) * before + momentum * batch);
}

template <class T, class A = compute_t<T>>
__device__ void write_statistics(const Statistics<A>& to, int64_t channel, A origin, const Moments<A>& moments,
                                 int64_t count) {
  const A mean = origin + moments.mean + moments.rest, momentum = static_cast<A>(to.momentum);
  to.mean[channel] = mean;
  to.var[channel] = moments.squares / static_cast<A>(count);
  update<T>(to.running_mean, channel, mean, momentum);
  update<T>(to.running_var, channel, moments.squares / static_cast<A>(count > 1 ? count - 1 : 1), momentum);
}

// Rows of a range, times values of a channel in a row.
template <bool kRows>
__device__ int64_t values_of(const Grid& g, int64_t range) {
  const int64_t left = g.rows - range * g.span, rows = left < g.span ? left : g.span;
  return kRows ? rows : rows * g.columns;
}

template <class T, int V, bool kRows>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(const T* x, Grid g, int64_t channels, Statistics<compute_t<T>> to) {
  using A = compute_t<T>;
  constexpr int C = kChannels<V, kRows>;
  const auto origin_of = [&](int64_t channel) { return load(x[kRows ? channel : channel * g.columns]); };
  const int64_t channel = first_channel<V, kRows>(g);
  A origin[C] = {}, mean[V] = {}, squares[V] = {}, steps = 0;
#pragma unroll
  for (int i = 0; i < C; ++i)
    if (channel < channels) origin[i] = origin_of(channel + i);
  for_vectors<V, kRows>(g, channels, g.columns, [&](auto count, auto aligned, Vectors at, Vectors) {
    constexpr int kCount = decltype(count)::value;
    Vector<T, V> values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = load_vector<T, V>(x + at[i], decltype(aligned)::value);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {  // Welford's recurrence for each element of a vector
      steps += 1;
      const A share = A(1) / steps;
#pragma unroll
      for (int each = 0; each < V; ++each) {
        const A value = load(values[i].at[each]) - origin[kRows ? each : 0], distance = value - mean[each];
        mean[each] += distance * share;
        squares[each] += distance * (value - mean[each]);
      }
    }
  });
  const int64_t range = kRows ? blockIdx.x / g.stripes : blockIdx.x % g.ranges;
  Moments<A> of_range[C];
  merge<kRows>(
      [&](const auto& work) {
#pragma unroll
        for (int i = 0; i < V; ++i) work(kRows ? i : 0, steps, Moments<A>{mean[i], 0, squares[i]});
      },
      static_cast<A>(values_of<kRows>(g, range)), g.across, of_range);
  const int64_t kind = partials_of_a_kind<V, kRows>(g, channels);
  for_own_partials<V, kRows>(g, [&](int i, int64_t at) {
    to.partials[at] = of_range[i].mean;
    to.partials[kind + at] = of_range[i].rest;
    to.partials[2 * kind + at] = of_range[i].squares;
  });
  if (!is_last<kRows>(g, to.counters)) return;
  using Merging = Merge<A, kRows>;
  const Merging m = Merging::template of<V>(g);
  const int64_t all = kRows ? g.rows : g.rows * g.columns;
  Moments<A> merged[Merging::kWidth];
  merge<kRows>(
      [&](const auto& work) {
        int64_t at = m.at;
#pragma unroll 2
        for (int64_t each = m.first; each < g.ranges; each += m.step, at += m.step * m.row) {
          const auto means = Merging::load(to.partials + at), rests = Merging::load(to.partials + kind + at);
          const auto squares_of = Merging::load(to.partials + 2 * kind + at);
          const A size = static_cast<A>(values_of<kRows>(g, each));
#pragma unroll
          for (int i = 0; i < Merging::kWidth; ++i)
            work(i, size, Moments<A>{means.at[i], rests.at[i], squares_of.at[i]});
        }
      },
      static_cast<A>(all), m.across, merged);
#pragma unroll
  for (int i = 0; i < Merging::kWidth; ++i)
    if (m.writes && m.channel + i < channels)
      write_statistics<T>(to, m.channel + i, origin_of(m.channel + i), merged[i], all);
}

// --- normalize + activate

template <class T, int V, bool kRows>
__global__ void __launch_bounds__(kThreads)
    normalize_kernel(const __grid_constant__ BatchNormCall call, const T* x, T* y, int64_t stride, Grid g) {
  using A = compute_t<T>;
  const auto norm = load_norm<T, kChannels<V, kRows>>(call, first_channel<V, kRows>(g));
  const A slope = static_cast<A>(call.negative_slope);
  for_vectors<V, kRows>(g, call.shape.channels, stride, [&](auto count, auto aligned, Vectors at, Vectors to) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = load_vector<T, V>(x + at[i], kAligned);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Vector<T, V> result;
#pragma unroll
      for (int each = 0; each < V; ++each) {
        const int c = kRows ? each : 0;
        const A z = (load(values[i].at[each]) - norm.center[c]) * norm.factor[c] + norm.shift[c];
        store(&result.at[each], leaky_relu(z, slope));
      }
      store_vector<T, V>(y + to[i], result, kAligned);
    }
  });
}

// --- backward. g is dy times the slope.

template <class T>
struct Gradients {
  const T *dy, *x;
  int64_t dy_stride;
  T* dx;
  PerChannel dweight, dbias;
  compute_t<T>* averages;  // [2, channels], or null: the average of g, and of g * (x - mean) divided by the variance
  compute_t<T>* partials;  // the sums of g and of g * (x - mean)
  unsigned* counters;
};

template <class T, class A = compute_t<T>>
__device__ void write_sums(const BatchNormCall& call, const Gradients<T>& to, int64_t channel, A of_g, A of_products) {
  const A inverse = load_inverse<T>(call, channel);
  const A count = static_cast<A>(call.shape.outer * call.shape.inner);
  store_number<T>(to.dweight, channel, of_products * inverse);
  store_number<T>(to.dbias, channel, of_g);
  if (to.averages == nullptr) return;
  to.averages[channel] = of_g / count;
  to.averages[call.shape.channels + channel] = of_products * inverse * inverse / count;
}

// Adds up a block's sums; the last block adds up those of all ranges and writes the results.
template <class T, int V, bool kRows, class A = compute_t<T>>
__device__ void finish_sums(const BatchNormCall& call, const Gradients<T>& to, const Grid& g, const A (&of_g)[V],
                            const A (&of_products)[V]) {
  using Merging = Merge<A, kRows>;
  const int64_t channels = call.shape.channels, kind = partials_of_a_kind<V, kRows>(g, channels);
  A sums_g[kChannels<V, kRows>] = {}, sums_products[kChannels<V, kRows>] = {};
#pragma unroll
  for (int i = 0; i < V; ++i) {
    sums_g[kRows ? i : 0] += of_g[i];
    sums_products[kRows ? i : 0] += of_products[i];
  }
  add_up_threads<kRows>(sums_g, g.across);
  add_up_threads<kRows>(sums_products, g.across);
  for_own_partials<V, kRows>(g, [&](int i, int64_t at) {
    to.partials[at] = sums_g[i];
    to.partials[kind + at] = sums_products[i];
  });
  if (!is_last<kRows>(g, to.counters)) return;
  const Merging m = Merging::template of<V>(g);
  A all_g[Merging::kWidth] = {}, all_products[Merging::kWidth] = {};
  int64_t at = m.at;
#pragma unroll 4
  for (int64_t each = m.first; each < g.ranges; each += m.step, at += m.step * m.row) {
    const auto part_g = Merging::load(to.partials + at), part_products = Merging::load(to.partials + kind + at);
#pragma unroll
    for (int i = 0; i < Merging::kWidth; ++i) {
      all_g[i] += part_g.at[i];
      all_products[i] += part_products.at[i];
    }
  }
  add_up_threads<kRows>(all_g, m.across);
  add_up_threads<kRows>(all_products, m.across);
#pragma unroll
  for (int i = 0; i < Merging::kWidth; ++i)
    if (m.writes && m.channel + i < channels) write_sums(call, to, m.channel + i, all_g[i], all_products[i]);
}

// kSums: sums g; with kInput as well: dx, where mean and var are constants. kInput alone: dx, also through mean and var
// if there are averages. Three blocks on a multiprocessor: without that number ptxas stays at 40 registers in some of
// these kernels, and spills.
template <class T, int V, bool kRows, bool kSums, bool kInput>
__global__ void __launch_bounds__(kThreads, 3)
    normalize_backward_kernel(const __grid_constant__ BatchNormCall call, const __grid_constant__ Gradients<T> to,
                              Grid g) {
  using A = compute_t<T>;
  constexpr int C = kChannels<V, kRows>;
  const int64_t channel = first_channel<V, kRows>(g), channels = call.shape.channels;
  const auto norm = load_norm<T, C>(call, channel);
  const A slope = static_cast<A>(call.negative_slope);
  const bool has_averages = !kSums && to.averages != nullptr;
  A average_g[C] = {}, average_products[C] = {}, of_g[V] = {}, of_products[V] = {};
  if (has_averages && channel < channels) {
#pragma unroll
    for (int i = 0; i < C; ++i) {
      average_g[i] = to.averages[channel + i];
      average_products[i] = to.averages[channels + channel + i];
    }
  }
  for_vectors<V, kRows>(g, channels, to.dy_stride, [&](auto count, auto aligned, Vectors at, Vectors from) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> gradients[kCount], values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      gradients[i] = load_vector<T, V>(to.dy + from[i], kAligned);
      values[i] = load_vector<T, V>(to.x + at[i], kAligned);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Vector<T, V> result;
#pragma unroll
      for (int each = 0; each < V; ++each) {
        const int c = kRows ? each : 0;
        const A distance = load(values[i].at[each]) - norm.center[c];
        const A masked =
            leaky_relu_gradient(load(gradients[i].at[each]), distance * norm.factor[c] + norm.shift[c], slope);
        if (kSums) {
          of_g[each] += masked;
          of_products[each] += masked * distance;
        }
        const A through = has_averages ? masked - average_g[c] - distance * average_products[c] : masked;
        if (kInput) store(&result.at[each], norm.factor[c] * through);
      }
      if (kInput) store_vector<T, V>(to.dx + at[i], result, kAligned);
    }
  });
  if constexpr (kSums) finish_sums<T, V, kRows>(call, to, g, of_g, of_products);
}

// --- launches

// Calls launch(T{}, V, kRows, grid, blocks), the constants as types.
template <class Launch>
cudaError_t for_shape(const LayerShape& s, const Launch& launch) {
  const int width = vector_width(s);
  const Grid g = summing_grid(s, width);
  const bool rows = are_channels_columns(s);
  const int64_t blocks = (rows ? g.stripes : s.channels) * g.ranges;
  with_type(s.dtype, [&](auto zero) {
    const auto of_width = [&](auto constant) {
      rows ? launch(zero, constant, std::true_type{}, g, blocks) : launch(zero, constant, std::false_type{}, g, blocks);
    };
    width == 1 ? of_width(std::integral_constant<int, 1>{})
               : of_width(std::integral_constant<int, kVector<decltype(zero)>>{});
    return 0;
  });
  return cudaGetLastError();
}

// Whether vectors of `width` elements begin at multiples of 16 bytes in every row.
bool are_rows_aligned(const LayerShape& s, Rows rows, int width) {
  return is_aligned(rows.at) && (!are_channels_columns(s) || rows.stride % width == 0);
}

}  // namespace

cudaError_t batch_norm_statistics(const LayerShape& s, const void* x, void* mean, void* var, PerChannel running_mean,
                                  PerChannel running_var, double momentum, BatchNormWorkspace workspace) {
  return for_shape(s, [&](auto zero, auto width, auto rows, Grid g, int64_t blocks) {
    using T = decltype(zero);
    using A = compute_t<T>;
    g.aligned = is_aligned(x);
    const Statistics<A> to{static_cast<A*>(mean), static_cast<A*>(var), running_mean, running_var, momentum,
                           static_cast<A*>(workspace.partials), workspace.counters};
    FASTGAN_LAUNCH((statistics_kernel<T, decltype(width)::value, decltype(rows)::value>), blocks, s.where,
                   static_cast<const T*>(x), g, s.channels, to);
  });
}

cudaError_t batch_norm_leaky_relu(const BatchNormCall& call, const void* x, Rows y) {
  return for_shape(call.shape, [&](auto zero, auto width, auto rows, Grid g, int64_t blocks) {
    using T = decltype(zero);
    constexpr int V = decltype(width)::value;
    g.aligned = is_aligned(x) && are_rows_aligned(call.shape, y, V);
    FASTGAN_LAUNCH((normalize_kernel<T, V, decltype(rows)::value>), blocks, call.shape.where, call,
                   static_cast<const T*>(x), static_cast<T*>(y.at), y.stride, g);
  });
}

cudaError_t batch_norm_leaky_relu_backward(const BatchNormCall& call, Rows dy, const void* x,
                                           const BatchNormGradients& gradients, BatchNormWorkspace workspace) {
  const bool with_dx = gradients.dx != nullptr, is_training = gradients.averages != nullptr;
  const bool with_sums = is_training || gradients.dweight.at != nullptr || gradients.dbias.at != nullptr;
  return for_shape(call.shape, [&](auto zero, auto width, auto rows, Grid g, int64_t blocks) {
    using T = decltype(zero);
    using A = compute_t<T>;
    constexpr int V = decltype(width)::value;
    constexpr bool kRows = decltype(rows)::value;
    g.aligned = are_rows_aligned(call.shape, dy, V) && is_aligned(x) && is_aligned(gradients.dx);
    const Gradients<T> to{static_cast<const T*>(dy.at),
                          static_cast<const T*>(x),
                          dy.stride,
                          static_cast<T*>(gradients.dx),
                          gradients.dweight,
                          gradients.dbias,
                          static_cast<A*>(gradients.averages),
                          static_cast<A*>(workspace.partials),
                          workspace.counters};
    if (with_sums && with_dx && !is_training) {
      FASTGAN_LAUNCH((normalize_backward_kernel<T, V, kRows, true, true>), blocks, call.shape.where, call, to, g);
      return;
    }
    if (with_sums)
      FASTGAN_LAUNCH((normalize_backward_kernel<T, V, kRows, true, false>), blocks, call.shape.where, call, to, g);
    if (with_dx)
      FASTGAN_LAUNCH((normalize_backward_kernel<T, V, kRows, false, true>), blocks, call.shape.where, call, to, g);
  });
}

}  // namespace fastgan::cuda
