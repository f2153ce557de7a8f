// Any rates and filters: a thread has 16 bytes of channels of an output, or, if channels are not last, one output, and
// reads what it needs from global memory. The usual rates and filters have kernels of their own.
#include "upfirdn.cuh"

namespace fastgan::cuda {
namespace {

// The inputs and taps of an output along an axis: input `first` + i belongs to tap `tap` + i up, for i below count.
struct Reach {
  int64_t first;
  int tap, count;

  __device__ static Reach of(int64_t output, int64_t padding, int up, int down, int taps, int64_t size) {
    const int64_t start = output * down - padding;  // of the taps, in the upsampled image
    int64_t first = start > 0 ? (start + up - 1) / up : start / up;
    if (first < 0) first = 0;
    const int64_t last = start + taps - 1 < 0 ? -1 : (start + taps - 1) / up, end = last < size ? last + 1 : size;
    if (end <= first) return {0, 0, 0};
    return {first, static_cast<int>(first * up - start), static_cast<int>(end - first)};
  }
};

// input [planes, in_height, in_width, inner], output [planes, out_height, out_width, inner]; V divides inner
template <class T, int V>
__global__ void __launch_bounds__(kThreads, 2) upfirdn_any_kernel(UpfirdnCall call) {
  using A = compute_t<T>;
  __shared__ A taps[kMostFilterTaps * kMostFilterTaps];  // of the correlation: [height, width], or [taps]
  const int height = call.filter_height, width = call.filter_width, count = call.separable ? width : height * width;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
    taps[i] = load_number<T>({const_cast<void*>(call.filter), call.filter_dtype}, call.flip ? i : count - 1 - i, 0);
  __syncthreads();
  int64_t rest = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t at = rest * V, channel = rest % (call.inner / V) * V;
  rest /= call.inner / V;
  const int64_t column = rest % call.out_width;
  rest /= call.out_width;
  const int64_t row = rest % call.out_height, plane = rest / call.out_height;
  if (plane >= call.planes) return;
  const Reach y = Reach::of(row, call.top, call.up_y, call.down_y, height, call.in_height);
  const Reach x = Reach::of(column, call.left, call.up_x, call.down_x, width, call.in_width);
  const T* from = static_cast<const T*>(call.input) +
                  ((plane * call.in_height + y.first) * call.in_width + x.first) * call.inner + channel;
  A sums[V] = {};
  for (int i = 0; i < y.count; ++i) {
    const int tap_y = y.tap + i * call.up_y;
    const A* tap = taps + (call.separable ? 0 : tap_y * width) + x.tap;
    A of_row[V] = {};
    for (int j = 0; j < x.count; ++j) {
      const auto values = load_vector<T, V>(from + j * call.inner, true);
#pragma unroll
      for (int each = 0; each < V; ++each) of_row[each] += *tap * load(values.at[each]);
      tap += call.up_x;
    }
#pragma unroll
    for (int each = 0; each < V; ++each) sums[each] += (call.separable ? taps[tap_y] : A(1)) * of_row[each];
    from += call.in_width * call.inner;
  }
  Vector<T, V> result;
#pragma unroll
  for (int each = 0; each < V; ++each) store(&result.at[each], static_cast<A>(call.gain) * sums[each]);
  store_vector<T, V>(static_cast<T*>(call.output) + at, result, true);
}

template <class T, int V>
cudaError_t any(const UpfirdnCall& call) {
  const int64_t vectors = call.planes * call.out_height * call.out_width * call.inner / V;
  FASTGAN_LAUNCH((upfirdn_any_kernel<T, V>), ceil_div(vectors, kThreads), call.where, call);
  return cudaGetLastError();
}

bool has_rates(const UpfirdnCall& call, int up, int down) {
  return call.up_x == up && call.up_y == up && call.down_x == down && call.down_y == down;
}

// Whether the kernels for the usual filters can count in 32 bits.
bool is_small(const UpfirdnCall& call) {
  constexpr int64_t kMost = int64_t{1} << 30;
  bool is = call.left < kMost && call.left > -kMost && call.top < kMost && call.top > -kMost;
  for (const int64_t size : {call.planes, call.in_height, call.in_width, call.out_height, call.out_width, call.inner})
    is = is && size < kMost;
  is = is && call.planes * call.in_height < kMost && call.planes * call.out_height < kMost;
  return is;
}

}  // namespace

cudaError_t upfirdn2d(const UpfirdnCall& call) {
  const bool has_wide_channels =
      call.inner * bytes_of(call.dtype) % 16 == 0 && is_aligned(call.input) && is_aligned(call.output);
  const bool is_twice = has_rates(call, 2, 1) || has_rates(call, 1, 2), small = is_small(call);
  if (small && call.filter_width == 4 && call.filter_height == 4 && (is_twice || has_rates(call, 1, 1))) {
    if (call.inner == 1) return upfirdn_of_planes(call);
    if (has_wide_channels) return upfirdn_of_channels(call);
  }
  const bool has_12_taps = call.filter_width == 12 && call.separable;
  if (small && has_12_taps && is_twice && call.inner == 1) return upfirdn_of_12_taps(call);
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    return has_wide_channels ? any<T, kVector<T>>(call) : any<T, 1>(call);
  });
}

}  // namespace fastgan::cuda
