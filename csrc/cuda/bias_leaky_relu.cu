// For rows and ranges see layers.cuh. The last block to finish for a stripe or channel adds up the sums of ranges, in
// order.
#include "bias_leaky_relu.h"

#include "layers.cuh"

namespace fastgan::cuda {
namespace {

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

// dx = dy * slope(y) at kCount places. Also adds dx to sums, before dx is rounded to T.
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

// grad_bias [columns] = sum over ranges of a stripe's partials [ranges, of_stripe], by one block. Each thread loads 16
// bytes of a row, so that neighbouring threads read neighbouring addresses.
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
  const int of_stripe = g.across * V;  // columns of a stripe, including those past the end
  A* const own = partials + stripe * g.ranges * of_stripe;
  add_down(sums, g.across);
  if (static_cast<int>(threadIdx.x) < g.across) {
#pragma unroll
    for (int i = 0; i < V; ++i) own[range * of_stripe + static_cast<int>(threadIdx.x) * V + i] = sums[i];
  }
  if (!is_last_of(static_cast<unsigned>(g.ranges), counters + stripe)) return;
  add_up_stripe(own, of_stripe, g.ranges, grad_bias + stripe * of_stripe, g.columns - stripe * of_stripe);
}

// A row is the plane of one channel of one sample; a block has a range of one channel's rows.
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

constexpr int64_t kUnlimitedBlocks = int64_t{1} << 30;

// The grid of a pass without sums.
Grid plain_grid(const LayerShape& s, int width) {
  const bool columns = are_channels_columns(s);
  return make_grid(columns ? s.outer : s.outer * s.channels, columns ? s.channels : s.inner, width, 1, kThreads,
                   kUnlimitedBlocks);
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
