// Plain Snake. A thread has a few vectors of 16 bytes: along a row, the plane of one channel of one sample, or, if
// channels are last, down a column of channels (layers.cuh). Sums of a block's ranges are added up by a second kernel.
#include "snake.cuh"

#include "layers.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kSteps = 8;  // vectors of a thread along a row
constexpr int64_t kUnlimitedBlocks = int64_t{1} << 30;

LayerShape shape_of(const SnakeCall& s) {
  if (s.channels_last) return {s.dtype, s.samples * s.length, s.channels, 1, s.where};
  return {s.dtype, s.samples, s.channels, s.length, s.where};
}

// The grid of rows. Its span is the number of columns of a block, and its stripes are blocks along a row.
Grid grid_of_rows(const SnakeCall& s, int width) {
  Grid g{s.samples * s.channels, s.length, false, 1, 1, 1, 1};
  while (g.across < kThreads && int64_t{g.across} * width * kSteps < s.length) g.across *= 2;
  g.span = int64_t{g.across} * width * kSteps;
  g.stripes = ceil_div(s.length, g.span);
  g.ranges = ceil_div(g.rows, kThreads / g.across);
  return g;
}

Grid grid_of(const SnakeCall& s, int width, bool with_sums) {
  if (!s.channels_last) return grid_of_rows(s, width);
  if (with_sums) return grid_of_column_sums(shape_of(s), width);
  return make_grid(s.samples * s.length, s.channels, width, 1, kThreads, kUnlimitedBlocks);
}

// Elements per load. Depends only on sizes, so that sums do not depend on addresses.
int width_of(const SnakeCall& s) {
  const int64_t columns = s.channels_last ? s.channels : s.length;
  const int widest = static_cast<int>(16 / bytes_of(s.dtype));
  return columns % widest == 0 ? widest : 1;
}

// A thread's vectors: elements from `first` to below `stop`, `step` apart. kLast: channels are last, V to a vector.
template <int V, bool kLast>
struct Share {
  int64_t first, stop, step, channel;
  bool is_any;  // else the thread has none

  __device__ static Share of(const Grid& g, int64_t channels) {
    if constexpr (kLast) {
      const Place p = place(g, V);
      return {p.row * g.columns + p.column, p.stop * g.columns, p.step * g.columns, p.column, p.column < g.columns};
    } else {
      const int x = static_cast<int>(threadIdx.x) % g.across, y = static_cast<int>(threadIdx.x) / g.across;
      const int64_t row = blockIdx.x / g.stripes * (kThreads / g.across) + y, column = blockIdx.x % g.stripes * g.span;
      const int64_t stop = column + g.span < g.columns ? column + g.span : g.columns;
      return {row * g.columns + column + x * V, row * g.columns + stop, int64_t{g.across} * V, row % channels,
              row < g.rows};
    }
  }
};

template <int V, bool kLast>
constexpr int kCurves = kLast ? V : 1;

template <class T, int C>
__device__ void load_curves(const SnakeCall& call, int64_t channel, Curve<compute_t<T>> (&curves)[C]) {
#pragma unroll
  for (int i = 0; i < C; ++i) curves[i] = load_curve<T>(call, channel + i);
}

// y: like the input
template <class T, int V, bool kLast>
__global__ void __launch_bounds__(kThreads) snake_kernel(SnakeCall call, T* y, Grid g) {
  const auto share = Share<V, kLast>::of(g, call.channels);
  if (!share.is_any) return;
  const T* x = static_cast<const T*>(call.input);
  Curve<compute_t<T>> curves[kCurves<V, kLast>];
  load_curves<T>(call, share.channel, curves);
  in_pairs(share.first, share.stop, share.step, g.aligned, [&](auto count, auto aligned, int64_t at) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = load_vector<T, V>(x + at + i * share.step, kAligned);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Vector<T, V> result;
#pragma unroll
      for (int each = 0; each < V; ++each)
        store(&result.at[each],
              curves[kLast ? each : 0].template activated<T, false>(load(values[i].at[each])));
      store_vector<T, V>(y + at + i * share.step, result, kAligned);
    }
  });
}

// Adds up the sums of a block: of threads `across` apart, if channels are last, else of `across` neighbours.
template <int V, bool kLast, class A>
__device__ void add_up_threads(SnakeSums<A> (&sums)[kCurves<V, kLast>], int across) {
  if constexpr (kLast) {
    A all[2 * V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      all[2 * i] = sums[i].of_alpha;
      all[2 * i + 1] = sums[i].of_beta;
    }
    add_down(all, across);
#pragma unroll
    for (int i = 0; i < V; ++i) sums[i] = {all[2 * i], all[2 * i + 1]};
  } else {
    __shared__ SnakeSums<A> of_thread[kThreads];
    of_thread[threadIdx.x] = sums[0];
    const int x = static_cast<int>(threadIdx.x) % across;
    for (int distance = across / 2; distance > 0; distance /= 2) {
      __syncthreads();
      if (x >= distance) continue;
      of_thread[threadIdx.x].of_alpha += of_thread[threadIdx.x + distance].of_alpha;
      of_thread[threadIdx.x].of_beta += of_thread[threadIdx.x + distance].of_beta;
    }
    sums[0] = of_thread[threadIdx.x];
  }
}

// dy, dx: like the input; partials: [2, size], in the order of parts_of()
template <class T, int V, bool kLast>
__global__ void __launch_bounds__(kThreads)
    snake_backward_kernel(SnakeCall call, const T* dy, T* dx, Grid g, compute_t<T>* partials, int64_t size) {
  using A = compute_t<T>;
  const auto share = Share<V, kLast>::of(g, call.channels);
  const T* x = static_cast<const T*>(call.input);
  Curve<A> curves[kCurves<V, kLast>];
  SnakeSums<A> sums[kCurves<V, kLast>] = {};
  if (share.is_any) {
    load_curves<T>(call, share.channel, curves);
    in_pairs(share.first, share.stop, share.step, g.aligned, [&](auto count, auto aligned, int64_t at) {
      constexpr int kCount = decltype(count)::value;
      constexpr bool kAligned = decltype(aligned)::value;
      Vector<T, V> values[kCount], gradients[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        values[i] = load_vector<T, V>(x + at + i * share.step, kAligned);
        gradients[i] = load_vector<T, V>(dy + at + i * share.step, kAligned);
      }
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        Vector<T, V> result;
#pragma unroll
        for (int each = 0; each < V; ++each) {
          const Curve<A>& curve = curves[kLast ? each : 0];
          const A g = load(gradients[i].at[each]), u = load(values[i].at[each]);
          store(&result.at[each], sums[kLast ? each : 0].template add<T, false>(curve.frequency, curve.bend(), g, u));
        }
        if (dx != nullptr) store_vector<T, V>(dx + at + i * share.step, result, kAligned);
      }
    });
  }
  if (partials == nullptr) return;
  add_up_threads<V, kLast>(sums, g.across);
  const int x_of_block = static_cast<int>(threadIdx.x) % g.across;
  const int y_of_block = static_cast<int>(threadIdx.x) / g.across;
  if (!share.is_any || (kLast ? y_of_block : x_of_block) != 0) return;
  const int64_t row = blockIdx.x / g.stripes * (kThreads / g.across) + y_of_block;
#pragma unroll
  for (int i = 0; i < kCurves<V, kLast>; ++i)
    sums[i].store(partials, size, kLast ? blockIdx.x / g.stripes * call.channels + share.channel + i
                                        : row * g.stripes + blockIdx.x % g.stripes);
}

// A block adds up the sums of a channel, in order, in double: they are few. partials: [2, outer, channels, inner]
template <class A>
__global__ void __launch_bounds__(kThreads) snake_sums_kernel(SnakeCall call, PerChannel dalpha, PerChannel dbeta,
                                                              const A* partials, SnakeParts parts) {
  const int64_t channel = blockIdx.x, size = parts.outer * parts.channels * parts.inner;
  double sums[2] = {0, 0};
  for (int64_t part = threadIdx.x; part < parts.outer * parts.inner; part += kThreads) {
    const int64_t at = (part / parts.inner * parts.channels + channel) * parts.inner + part % parts.inner;
    sums[0] += partials[at];
    sums[1] += partials[size + at];
  }
  block_sums(sums);
  if (threadIdx.x != 0) return;
  const auto number = [&](const PerChannel& of) {
    const double value = load_element(advance(of.at, channel, of.dtype), of.dtype);
    return call.log_scale ? exp(value) : value;
  };
  const bool is_shared = call.beta.at == nullptr;
  const double a = number(call.alpha), b = is_shared ? a : number(call.beta), inverse = 1 / (b + call.eps);
  const double da = sums[0] * inverse * (call.log_scale ? a : 1);
  const double db = -sums[1] * inverse * inverse * (call.log_scale ? b : 1);
  const auto store_gradient = [&](const PerChannel& of, double value) {
    if (of.at != nullptr) store_element(advance(of.at, channel, of.dtype), of.dtype, value);
  };
  store_gradient(dalpha, is_shared ? da + db : da);
  store_gradient(dbeta, db);
}

template <class T, int V>
cudaError_t forward(const SnakeCall& call, T* y) {
  Grid g = grid_of(call, V, false);
  g.aligned = is_aligned(call.input) && is_aligned(y);
  if (call.channels_last)
    FASTGAN_LAUNCH((snake_kernel<T, V, true>), g.stripes * g.ranges, call.where, call, y, g);
  else
    FASTGAN_LAUNCH((snake_kernel<T, V, false>), g.stripes * g.ranges, call.where, call, y, g);
  return cudaGetLastError();
}

SnakeParts parts_of(const SnakeCall& call) {
  const Grid g = grid_of(call, width_of(call), true);
  if (call.channels_last) return {g.ranges, call.channels, 1};
  return {call.samples, call.channels, g.stripes};
}

template <class T, int V>
cudaError_t backward(const SnakeCall& call, const SnakeGrad& grad, compute_t<T>* partials) {
  const T* dy = static_cast<const T*>(grad.incoming);
  T* dx = static_cast<T*>(grad.input);
  Grid g = grid_of(call, V, partials != nullptr);
  g.aligned = is_aligned(call.input) && is_aligned(dy) && is_aligned(dx);
  const SnakeParts parts = parts_of(call);
  if (call.channels_last)
    FASTGAN_LAUNCH((snake_backward_kernel<T, V, true>), g.stripes * g.ranges, call.where, call, dy, dx, g, partials,
                   parts.size());
  else
    FASTGAN_LAUNCH((snake_backward_kernel<T, V, false>), g.stripes * g.ranges, call.where, call, dy, dx, g, partials,
                   parts.size());
  const cudaError_t error = cudaGetLastError();
  return error != cudaSuccess || partials == nullptr ? error : add_up_snake(call, grad, partials, parts);
}

}  // namespace

cudaError_t add_up_snake(const SnakeCall& call, const SnakeGrad& grad, const void* partials,
                         const SnakeParts& parts) {
  if (call.dtype == DType::f64)
    FASTGAN_LAUNCH((snake_sums_kernel<double>), call.channels, call.where, call, grad.alpha, grad.beta,
                   static_cast<const double*>(partials), parts);
  else
    FASTGAN_LAUNCH((snake_sums_kernel<float>), call.channels, call.where, call, grad.alpha, grad.beta,
                   static_cast<const float*>(partials), parts);
  return cudaGetLastError();
}

int64_t snake_partials(const SnakeCall& call) { return 2 * parts_of(call).size(); }

cudaError_t snake(const SnakeCall& call, void* output) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = static_cast<T*>(output);
    return width_of(call) == 1 ? forward<T, 1>(call, y) : forward<T, kVector<T>>(call, y);
  });
}

cudaError_t snake_backward(const SnakeCall& call, const SnakeGrad& grad, void* partials) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* sums = has_sums(grad) ? static_cast<compute_t<T>*>(partials) : nullptr;
    return width_of(call) == 1 ? backward<T, 1>(call, grad, sums) : backward<T, kVector<T>>(call, grad, sums);
  });
}

}  // namespace fastgan::cuda
