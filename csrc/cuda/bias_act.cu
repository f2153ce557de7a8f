// Bias and activation. Leaky ReLU, whose limit is memory, has kernels of its own; the others branch on the form. For
// rows and ranges see layers.cuh. The last block to finish for a stripe or channel adds up the sums of ranges, in order.
#include "bias_act.h"

#include "../acts.h"
#include "layers.cuh"

namespace fastgan::cuda {
namespace {

template <class Function>
constexpr bool kIsLeaky = false;
template <class A>
constexpr bool kIsLeaky<LeakyAct<A>> = true;

struct Alignment {
  bool value;
};

// Calls work(count, aligned, at) for a thread's places; see in_pairs. The arithmetic of other forms than leaky ReLU is
// long, so it is compiled once, for one place at a time.
template <class Function, class Work>
__device__ void for_places(int64_t at, int64_t stop, int64_t step, bool aligned, const Work& work) {
  if constexpr (kIsLeaky<Function>) {
    in_pairs(at, stop, step, aligned, work);
  } else {
#pragma unroll 1
    for (; at < stop; at += step) work(std::integral_constant<int, 1>{}, Alignment{aligned}, at);
  }
}

template <class T, int V>
__device__ void load_bias(compute_t<T> (&b)[V], const T* bias) {
#pragma unroll
  for (int i = 0; i < V; ++i) b[i] = load(bias[i]);
}

template <class A, int V>
__device__ void fill(A (&b)[V], A value) {
#pragma unroll
  for (int i = 0; i < V; ++i) b[i] = value;
}

template <class T, int V, class Function, class A = compute_t<T>>
__device__ Vector<T, V> activated(const Function& act, const Vector<T, V>& x, const A (&b)[V]) {
  Vector<T, V> y;
  const auto each_of = [&](const auto& known) {
#pragma unroll
    for (int i = 0; i < V; ++i) store(&y.at[i], known.value(load(x.at[i]) + b[i]));
  };
  if constexpr (kIsLeaky<Function>)
    each_of(act);
  else
    act.with_form(each_of);
  return y;
}

// kColumns: channels are columns. bias [channels], or null.
template <class T, int V, bool kColumns, class Function>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const T* x, const T* bias, T* y, Grid g, int64_t channels, const Function act) {
  const Place p = place(g, V);
  if (p.column >= g.columns) return;
  compute_t<T> b[V] = {};
  if (kColumns && bias != nullptr) load_bias(b, bias + p.column);
  for_places<Function>(p.row, p.stop, p.step, g.aligned, [&](auto count, auto aligned, int64_t row) {
    constexpr int kCount = decltype(count)::value;
    Vector<T, V> values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = load_vector<T, V>(x + (row + i * p.step) * g.columns + p.column, aligned.value);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (!kColumns && bias != nullptr) fill(b, load(bias[(row + i * p.step) % channels]));
      store_vector<T, V>(y + (row + i * p.step) * g.columns + p.column, activated(act, values[i], b),
                         aligned.value);
    }
  });
}

// The arrays of a BiasActGrad; the bias is null unless the input is saved.
template <class T>
struct Arrays {
  const T *cotangent, *dy, *saved, *bias;
  T *dx, *grad_bias;
  compute_t<T>* partials;
  unsigned* counters;
};

template <class T, int V, class Function, class A = compute_t<T>>
__device__ void mask_vector(const Function& act, const T* cotangent, bool aligned, const Vector<T, V>& dy,
                            const Vector<T, V>& saved, const A (&b)[V], A (&masked)[V]) {
  if constexpr (kIsLeaky<Function>) {
#pragma unroll
    for (int i = 0; i < V; ++i) masked[i] = act.gradient(load(dy.at[i]), load(saved.at[i]));
  } else if (cotangent == nullptr) {
    act.with_form([&](const auto& known) {
#pragma unroll
      for (int i = 0; i < V; ++i) masked[i] = known.gradient(load(dy.at[i]), load(saved.at[i]) + b[i]);
    });
  } else {
    const auto v = load_vector<T, V>(cotangent, aligned);
    act.with_form([&](const auto& known) {
#pragma unroll
      for (int i = 0; i < V; ++i) masked[i] = known.curved(load(v.at[i]), load(dy.at[i]), load(saved.at[i]) + b[i]);
    });
  }
}

// Computes dx at kCount places. Also adds dx to sums, before dx is rounded to T.
template <int kCount, class T, int V, class Function, class A = compute_t<T>>
__device__ void mask(const Function& act, const Arrays<T>& of, int64_t at, int64_t apart, bool aligned,
                     const A (&b)[V], A (&sums)[V]) {
  Vector<T, V> gradients[kCount], saved[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    gradients[i] = load_vector<T, V>(of.dy + at + i * apart, aligned);
    saved[i] = load_vector<T, V>(of.saved + at + i * apart, aligned);
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    A masked[V];
    const T* cotangent = of.cotangent == nullptr ? nullptr : of.cotangent + at + i * apart;
    mask_vector(act, cotangent, aligned, gradients[i], saved[i], b, masked);
    Vector<T, V> result;
#pragma unroll
    for (int each = 0; each < V; ++each) {
      sums[each] += masked[each];
      store(&result.at[each], masked[each]);
    }
    store_vector<T, V>(of.dx + at + i * apart, result, aligned);
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

// Blocks that a multiprocessor needs room for. With the default the compiler stops at 64 registers, and spills doubles.
constexpr int kBlocks = 1;

// kSum: grad_bias is computed; channels are columns.
template <class T, int V, bool kSum, class Function>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_rows_kernel(const __grid_constant__ Arrays<T> of, Grid g, int64_t channels, bool columns,
                         const Function act) {
  using A = compute_t<T>;
  const Place p = place(g, V);
  const bool reads_bias = !kIsLeaky<Function> && of.bias != nullptr;
  A sums[V] = {}, b[V] = {};
  if (p.column < g.columns) {
    if (reads_bias && columns) load_bias(b, of.bias + p.column);
    for_places<Function>(p.row, p.stop, p.step, g.aligned, [&](auto count, auto aligned, int64_t row) {
      if (reads_bias && !columns) fill(b, load(of.bias[row % channels]));
      mask<decltype(count)::value>(act, of, row * g.columns + p.column, p.step * g.columns, aligned.value, b,
                                     sums);
    });
  }
  if (!kSum) return;
  const int64_t stripe = blockIdx.x % g.stripes, range = blockIdx.x / g.stripes;
  const int of_stripe = g.across * V;  // columns of a stripe, including those past the end
  A* const own = of.partials + stripe * g.ranges * of_stripe;
  add_down(sums, g.across);
  if (static_cast<int>(threadIdx.x) < g.across) {
#pragma unroll
    for (int i = 0; i < V; ++i) own[range * of_stripe + static_cast<int>(threadIdx.x) * V + i] = sums[i];
  }
  if (!is_last_of(static_cast<unsigned>(g.ranges), of.counters + stripe)) return;
  add_up_stripe(own, of_stripe, g.ranges, of.grad_bias + stripe * of_stripe, g.columns - stripe * of_stripe);
}

// A row is the plane of one channel of one sample; a block has a range of one channel's rows.
template <class T, int V, class Function>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_planes_kernel(const __grid_constant__ Arrays<T> of, Grid g, int64_t channels, const Function act) {
  using A = compute_t<T>;
  const int64_t channel = blockIdx.x / g.ranges, range = blockIdx.x % g.ranges;
  const int x = static_cast<int>(threadIdx.x) % g.across, step = kThreads / g.across;
  const int64_t stop = (range + 1) * g.span < g.rows ? (range + 1) * g.span : g.rows;
  A sums[V] = {}, b[V] = {};
  if (!kIsLeaky<Function> && of.bias != nullptr) fill(b, load(of.bias[channel]));
  for (int64_t row = range * g.span + threadIdx.x / g.across; row < stop; row += step) {
    const int64_t plane = (row * channels + channel) * g.columns, apart = int64_t{g.across} * V;
    for_places<Function>(int64_t{x} * V, g.columns, apart, g.aligned, [&](auto count, auto aligned, int64_t column) {
      mask<decltype(count)::value>(act, of, plane + column, apart, aligned.value, b, sums);
    });
  }
  A total = 0;
#pragma unroll
  for (int i = 0; i < V; ++i) total += sums[i];
  total = block_sum(total);
  if (threadIdx.x == 0) of.partials[channel * g.ranges + range] = total;
  if (!is_last_of(static_cast<unsigned>(g.ranges), of.counters + channel)) return;
  total = sum_in_order(of.partials + channel * g.ranges, g.ranges);
  if (threadIdx.x == 0) store(&of.grad_bias[channel], total);
}

constexpr int64_t kUnlimitedBlocks = int64_t{1} << 30;

// The grid of a pass without sums.
Grid plain_grid(const LayerShape& s, int width) {
  const bool columns = are_channels_columns(s);
  return make_grid(columns ? s.outer : s.outer * s.channels, columns ? s.channels : s.inner, width, 1, kThreads,
                   kUnlimitedBlocks);
}

template <class T, int V, class Function>
cudaError_t forward(const LayerShape& s, const Function& act, const T* x, const T* bias, T* y) {
  Grid g = plain_grid(s, V);
  g.aligned = is_aligned(x) && is_aligned(y);
  const int64_t blocks = g.stripes * g.ranges;
  if (are_channels_columns(s))
    FASTGAN_LAUNCH((forward_kernel<T, V, true, Function>), blocks, s.where, x, bias, y, g, s.channels, act);
  else
    FASTGAN_LAUNCH((forward_kernel<T, V, false, Function>), blocks, s.where, x, bias, y, g, s.channels, act);
  return cudaGetLastError();
}

template <class T, int V, class Function>
cudaError_t backward(const LayerShape& s, const Function& act, const Arrays<T>& of) {
  const bool sums = of.grad_bias != nullptr, columns = are_channels_columns(s);
  Grid g = sums ? summing_grid(s, V) : plain_grid(s, V);
  g.aligned = is_aligned(of.cotangent) && is_aligned(of.dy) && is_aligned(of.saved) && is_aligned(of.dx);
  if (!sums)
    FASTGAN_LAUNCH((backward_rows_kernel<T, V, false, Function>), g.stripes * g.ranges, s.where, of, g, s.channels,
                   columns, act);
  else if (columns)
    FASTGAN_LAUNCH((backward_rows_kernel<T, V, true, Function>), g.stripes * g.ranges, s.where, of, g, s.channels,
                   columns, act);
  else
    FASTGAN_LAUNCH((backward_planes_kernel<T, V, Function>), s.channels * g.ranges, s.where, of, g, s.channels, act);
  return cudaGetLastError();
}

// Calls work(T{}, width, function) with the storage type, the elements of a load, and the activation as kernels take
// it. The second derivative of leaky ReLU, which is zero, is left to the kernels of all forms.
template <class Work>
cudaError_t with_kernel(const LayerShape& s, const Act& act, bool curved, const Work& work) {
  return with_type(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const auto with_width = [&](const auto& function) {
      return vector_width(s) == 1 ? work(zero, std::integral_constant<int, 1>{}, function)
                                  : work(zero, std::integral_constant<int, kVector<T>>{}, function);
    };
    return act.form == ActForm::leaky && !curved ? with_width(LeakyAct<A>(act)) : with_width(AnyAct<A>(act));
  });
}

}  // namespace

LayerWorkspace layer_workspace(const LayerShape& s) {
  const int width = vector_width(s);
  const Grid g = summing_grid(s, width);
  if (are_channels_columns(s)) return {g.ranges * g.stripes * g.across * width, g.stripes};
  return {g.ranges * s.channels, s.channels};
}

cudaError_t bias_act(const LayerShape& s, const Act& act, const void* x, const void* bias, void* y) {
  return with_kernel(s, act, false, [&](auto zero, auto width, const auto& function) {
    using T = decltype(zero);
    return forward<T, decltype(width)::value>(s, function, static_cast<const T*>(x), static_cast<const T*>(bias),
                                              static_cast<T*>(y));
  });
}

cudaError_t bias_act_backward(const LayerShape& s, const Act& act, const BiasActGrad& grad, void* sums,
                              unsigned* counters) {
  return with_kernel(s, act, grad.cotangent != nullptr, [&](auto zero, auto width, const auto& function) {
    using T = decltype(zero);
    const void* bias = saves_input(act.form) ? grad.bias : nullptr;
    const Arrays<T> of{static_cast<const T*>(grad.cotangent), static_cast<const T*>(grad.dy),
                       static_cast<const T*>(grad.saved),     static_cast<const T*>(bias),
                       static_cast<T*>(grad.dx),              static_cast<T*>(grad.grad_bias),
                       static_cast<compute_t<T>*>(sums),      counters};
    return backward<T, decltype(width)::value>(s, function, of);
  });
}

}  // namespace fastgan::cuda
