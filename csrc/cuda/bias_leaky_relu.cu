// Memory is seen as a matrix: channels innermost, a row a sample; otherwise a row is the plane of one channel of
// one sample. A block covers a stripe of columns, 16 bytes a thread, and walks down a range of rows, which depends
// on sizes alone. Sums of ranges are added up in order, by the block that arrives last for its columns or channel:
// alone, so a stripe is narrow where columns are summed.
#include "bias_leaky_relu.h"

#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

struct Grid {
  int64_t rows, columns;
  bool aligned;            // every address, to 16 bytes
  int across;              // threads along a row, a power of two
  int64_t stripes;         // blocks along a row
  int64_t span, ranges;    // rows of a block, blocks down a column
};

constexpr int kLeastSteps = 4;  // down the rows, in a block

Grid make_grid(int64_t rows, int64_t columns, int width, int least_across, int most_across, int64_t most_blocks) {
  Grid g{rows, columns, false, least_across, 1, 1, 1};
  while (g.across < most_across && int64_t{g.across} * width < columns) g.across *= 2;
  g.stripes = ceil_div(columns, int64_t{g.across} * width);
  const int64_t step = kThreads / g.across;
  const int64_t most_ranges = most_blocks / g.stripes > 1 ? most_blocks / g.stripes : 1;
  const int64_t steps = ceil_div(ceil_div(rows, step), most_ranges);
  g.span = (steps > kLeastSteps ? steps : kLeastSteps) * step;
  g.ranges = ceil_div(rows, g.span);
  return g;
}

// Where this thread stands: its first column, its first row, and the rows behind its block's.
struct Place {
  int64_t column, row, stop;
  int step;
};

__device__ Place place(const Grid& g, int width) {
  const int x = static_cast<int>(threadIdx.x) % g.across, y = static_cast<int>(threadIdx.x) / g.across;
  const int64_t stripe = blockIdx.x % g.stripes, range = blockIdx.x / g.stripes;
  const int64_t stop = (range + 1) * g.span < g.rows ? (range + 1) * g.span : g.rows;
  return {(stripe * g.across + x) * width, range * g.span + y, stop, kThreads / g.across};
}

// work(count, aligned, at) for a thread's places, two at a time where every address is aligned: the loads of both
// before the first store, which the compiler would not do, as results may overwrite what is read for all it knows.
template <class Work>
__device__ void in_pairs(int64_t at, int64_t stop, int64_t step, bool aligned, const Work& work) {
  using One = std::integral_constant<int, 1>;
  if (aligned) {
    for (; at + step < stop; at += 2 * step) work(std::integral_constant<int, 2>{}, std::true_type{}, at);
    if (at < stop) work(One{}, std::true_type{}, at);
  } else {
#pragma unroll 1
    for (; at < stop; at += step) work(One{}, std::false_type{}, at);
  }
}

enum class Bias { none, of_columns, of_rows };

template <class T, int V, Bias kBias>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const T* x, const T* bias, T* y, Grid g, int64_t channels, compute_t<T> slope) {
  using A = compute_t<T>;
  const Place p = place(g, V);
  if (p.column < g.columns) {
    A b[V] = {};
    if (kBias == Bias::of_columns) {
#pragma unroll
      for (int i = 0; i < V; ++i) b[i] = load(bias[p.column + i]);
    }
    in_pairs(p.row, p.stop, p.step, g.aligned, [&](auto count, auto aligned, int64_t row) {
      constexpr int kCount = decltype(count)::value;
      constexpr bool kAligned = decltype(aligned)::value;
      Vector<T, V> values[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        values[i] = load_vector<T, V>(x + (row + i * p.step) * g.columns + p.column, kAligned);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (kBias == Bias::of_rows) b[0] = load(bias[(row + i * p.step) % channels]);
        Vector<T, V> result;
#pragma unroll
        for (int each = 0; each < V; ++each)
          store(&result.at[each], leaky_relu(load(values[i].at[each]) + b[kBias == Bias::of_rows ? 0 : each], slope));
        store_vector<T, V>(y + (row + i * p.step) * g.columns + p.column, result, kAligned);
      }
    });
  }
}

// dx = dy * slope(y) at kCount places; what is stored is rounded, what is summed is not.
template <int kCount, class T, int V>
__device__ void mask(const T* dy, const T* y, T* dx, int64_t at, int64_t apart, bool aligned, compute_t<T> slope,
                     compute_t<T> (&sums)[V]) {
  Vector<T, V> gradients[kCount], outputs[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    gradients[i] = load_vector<T, V>(dy + at + i * apart, aligned);
    outputs[i] = load_vector<T, V>(y + at + i * apart, aligned);
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    Vector<T, V> result;
#pragma unroll
    for (int each = 0; each < V; ++each) {
      const auto masked = leaky_relu_gradient(load(gradients[i].at[each]), load(outputs[i].at[each]), slope);
      sums[each] += masked;
      store(&result.at[each], masked);
    }
    store_vector<T, V>(dx + at + i * apart, result, aligned);
  }
}

// The sums of a column over the threads of a block that stand in it: in the threads of the first row.
template <class A, int V>
__device__ void add_down(A (&sums)[V], int across) {
  __shared__ A of_thread[kThreads * V];
  __syncthreads();  // of_thread may still be read for earlier sums
#pragma unroll
  for (int i = 0; i < V; ++i) of_thread[i * kThreads + threadIdx.x] = sums[i];
  for (int distance = kThreads / 2; distance >= across; distance /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < distance) {
#pragma unroll
      for (int i = 0; i < V; ++i)
        of_thread[i * kThreads + threadIdx.x] += of_thread[i * kThreads + threadIdx.x + distance];
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < V; ++i) sums[i] = of_thread[i * kThreads + threadIdx.x];
}

// grad_bias [columns] = the sums of a stripe's partials [ranges, of_stripe], by one block. Threads stand 16 bytes apart
// in a row of partials, however many of its columns each thread had before: neighbours read what lies together.
template <class T, class A = compute_t<T>>
__device__ void add_up_stripe(const A* partials, int of_stripe, int64_t ranges, T* grad_bias, int64_t columns) {
  constexpr int W = kVector<A>;
  const int across = of_stripe / W, step = kThreads / across;
  const int first = static_cast<int>(threadIdx.x) % across * W;
  A sums[W] = {};
#pragma unroll 8
  for (int64_t range = static_cast<int>(threadIdx.x) / across; range < ranges; range += step) {
    const auto partial = load_stored(partials + range * of_stripe + first);
#pragma unroll
    for (int i = 0; i < W; ++i) sums[i] += partial.at[i];
  }
  add_down(sums, across);
#pragma unroll
  for (int i = 0; i < W; ++i)
    if (static_cast<int>(threadIdx.x) < across && first + i < columns) store(&grad_bias[first + i], sums[i]);
}

template <class T, int V, bool kSum>
__global__ void __launch_bounds__(kThreads) backward_rows_kernel(const T* dy, const T* y, T* dx, T* grad_bias, Grid g,
                                                                 compute_t<T> slope, compute_t<T>* partials,
                                                                 unsigned* counters) {
  using A = compute_t<T>;
  const Place p = place(g, V);
  const bool inside = p.column < g.columns;
  A sums[V] = {};
  if (inside)
    in_pairs(p.row, p.stop, p.step, g.aligned, [&](auto count, auto aligned, int64_t row) {
      mask<decltype(count)::value>(dy, y, dx, row * g.columns + p.column, p.step * g.columns, decltype(aligned)::value,
                                   slope, sums);
    });
  if (!kSum) return;
  const int64_t stripe = blockIdx.x % g.stripes, range = blockIdx.x / g.stripes;
  const int of_stripe = g.across * V;  // columns, with those behind the last
  A* const own = partials + stripe * g.ranges * of_stripe;
  add_down(sums, g.across);
  if (static_cast<int>(threadIdx.x) < g.across) {
#pragma unroll
    for (int i = 0; i < V; ++i) own[range * of_stripe + static_cast<int>(threadIdx.x) * V + i] = sums[i];
  }
  if (!is_last_of(static_cast<unsigned>(g.ranges), counters + stripe)) return;
  add_up_stripe(own, of_stripe, g.ranges, grad_bias + stripe * of_stripe, g.columns - stripe * of_stripe);
}

// The planes of one channel, of all samples, are the rows here; ranges of them belong to a block.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) backward_planes_kernel(const T* dy, const T* y, T* dx, T* grad_bias,
                                                                   Grid g, int64_t channels, compute_t<T> slope,
                                                                   compute_t<T>* partials, unsigned* counters) {
  using A = compute_t<T>;
  const int64_t channel = blockIdx.x / g.ranges, range = blockIdx.x % g.ranges;
  const int x = static_cast<int>(threadIdx.x) % g.across, step = kThreads / g.across;
  const int64_t stop = (range + 1) * g.span < g.rows ? (range + 1) * g.span : g.rows;
  A sums[V] = {};
  for (int64_t row = range * g.span + threadIdx.x / g.across; row < stop; row += step) {
    const int64_t plane = (row * channels + channel) * g.columns, apart = int64_t{g.across} * V;
    in_pairs(int64_t{x} * V, g.columns, apart, g.aligned, [&](auto count, auto aligned, int64_t column) {
      mask<decltype(count)::value>(dy, y, dx, plane + column, apart, decltype(aligned)::value, slope, sums);
    });
  }
  A total = 0;
#pragma unroll
  for (int i = 0; i < V; ++i) total += sums[i];
  total = block_sum(total);
  if (threadIdx.x == 0) partials[channel * g.ranges + range] = total;
  if (!is_last_of(static_cast<unsigned>(g.ranges), counters + channel)) return;
  total = sum_in_order(partials + channel * g.ranges, g.ranges);
  if (threadIdx.x == 0) store(&grad_bias[channel], total);
}

constexpr int64_t kManyBlocks = int64_t{1} << 30;
constexpr int64_t kSummingBlocks = kMaxRanges;

bool are_channels_columns(const LayerShape& s) { return s.inner == 1; }

// Elements that a thread takes at a time: from sizes alone, as sums must not depend on addresses.
int vector_width(const LayerShape& s) {
  const int64_t columns = are_channels_columns(s) ? s.channels : s.inner;
  const int widest = static_cast<int>(16 / bytes_of(s.dtype));
  return columns % widest == 0 ? widest : 1;
}

// The grid of a pass that sums nothing.
Grid plain_grid(const LayerShape& s, int width) {
  const bool columns = are_channels_columns(s);
  return make_grid(columns ? s.outer : s.outer * s.channels, columns ? s.channels : s.inner, width, 1, kThreads,
                   kManyBlocks);
}

// Where columns are summed. Fewer threads across are more stripes, each with fewer partial sums for one block to add up
// alone: from 32 threads, 512 bytes of a row, down to 8, a cache line. A row of partials is 16 bytes long at least.
Grid grid_of_column_sums(const LayerShape& s, int width) {
  constexpr int64_t kMostPartials = 1 << 16;  // of a stripe
  for (int across = 32;; across /= 2) {
    const Grid g = make_grid(s.outer, s.channels, width, width == 1 ? 4 : 1, across, kSummingBlocks);
    if (across == 8 || g.ranges * g.across * width <= kMostPartials) return g;
  }
}

// The grid of a backward pass that sums.
Grid summing_grid(const LayerShape& s, int width) {
  if (are_channels_columns(s)) return grid_of_column_sums(s, width);
  Grid g = make_grid(s.outer, s.inner, width, 1, kThreads, 1);
  const int64_t step = kThreads / g.across, work = ceil_div(s.outer, step);  // rows a thread
  const int64_t most = kSummingBlocks / s.channels > 1 ? kSummingBlocks / s.channels : 1;
  g.span = ceil_div(work, most < work ? most : work) * step;
  g.ranges = ceil_div(s.outer, g.span);
  return g;
}

template <class T, int V>
cudaError_t forward(const LayerShape& s, const void* x_, const void* bias_, void* y_) {
  const T *x = static_cast<const T*>(x_), *bias = static_cast<const T*>(bias_);
  T* y = static_cast<T*>(y_);
  const bool columns = are_channels_columns(s);
  Grid g = plain_grid(s, V);
  g.aligned = is_aligned(x) && is_aligned(y);
  const auto slope = static_cast<compute_t<T>>(s.negative_slope);
  const int64_t blocks = g.stripes * g.ranges;
  if (bias == nullptr)
    FASTGAN_LAUNCH((forward_kernel<T, V, Bias::none>), blocks, s.where, x, bias, y, g, s.channels, slope);
  else if (columns)
    FASTGAN_LAUNCH((forward_kernel<T, V, Bias::of_columns>), blocks, s.where, x, bias, y, g, s.channels, slope);
  else
    FASTGAN_LAUNCH((forward_kernel<T, V, Bias::of_rows>), blocks, s.where, x, bias, y, g, s.channels, slope);
  return cudaGetLastError();
}

template <class T, int V>
cudaError_t backward(const LayerShape& s, const void* dy_, const void* y_, void* dx_, void* grad_bias_, void* sums,
                     unsigned* counters) {
  const T *dy = static_cast<const T*>(dy_), *y = static_cast<const T*>(y_);
  T *dx = static_cast<T*>(dx_), *grad_bias = static_cast<T*>(grad_bias_);
  auto* partials = static_cast<compute_t<T>*>(sums);
  const auto slope = static_cast<compute_t<T>>(s.negative_slope);
  const bool columns = are_channels_columns(s), aligned = is_aligned(dy) && is_aligned(y) && is_aligned(dx);
  if (grad_bias == nullptr) {
    Grid g = plain_grid(s, V);
    g.aligned = aligned;
    FASTGAN_LAUNCH((backward_rows_kernel<T, V, false>), g.stripes * g.ranges, s.where, dy, y, dx, grad_bias, g, slope,
                   partials, counters);
    return cudaGetLastError();
  }
  Grid g = summing_grid(s, V);
  g.aligned = aligned;
  if (columns)
    FASTGAN_LAUNCH((backward_rows_kernel<T, V, true>), g.stripes * g.ranges, s.where, dy, y, dx, grad_bias, g, slope,
                   partials, counters);
  else
    FASTGAN_LAUNCH((backward_planes_kernel<T, V>), s.channels * g.ranges, s.where, dy, y, dx, grad_bias, g, s.channels,
                   slope, partials, counters);
  return cudaGetLastError();
}

}  // namespace

LayerWorkspace layer_workspace(const LayerShape& s) {
  const int width = vector_width(s);
  const Grid g = summing_grid(s, width);
  if (are_channels_columns(s)) return {g.ranges * g.stripes * g.across * width, g.stripes};
  return {g.ranges * s.channels, s.channels};
}

cudaError_t bias_leaky_relu_forward(const LayerShape& s, const void* x, const void* bias, void* y) {
  return with_type(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    return vector_width(s) == 1 ? forward<T, 1>(s, x, bias, y) : forward<T, kVector<T>>(s, x, bias, y);
  });
}

cudaError_t bias_leaky_relu_backward(const LayerShape& s, const void* dy, const void* y, void* dx, void* grad_bias,
                                     void* sums, unsigned* counters) {
  return with_type(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    return vector_width(s) == 1 ? backward<T, 1>(s, dy, y, dx, grad_bias, sums, counters)
                                : backward<T, kVector<T>>(s, dy, y, dx, grad_bias, sums, counters);
  });
}

}  // namespace fastgan::cuda
