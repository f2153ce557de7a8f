// As in losses.cu, a block sums one range, in tiles, and the last block to finish adds up the ranges in order. Inputs
// are read once; gradients are written in the same pass.
#include "reconstruction.h"

#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = 2;  // vectors per thread in a tile

template <class T>
constexpr int64_t kTile = int64_t{kRows} * kThreads * kVector<T>;

template <class T>
struct ReconstructionArgs {
  const T *x, *y, *incoming;
  T *dx, *dy, *terms;
  int64_t size, span;  // elements in all and per block
  bool aligned, mean;
  Scale scale;
  Result loss;
  compute_t<T>* partials;  // [blocks]
  unsigned* counter;
};

template <class T>
__device__ compute_t<T> factor(const ReconstructionArgs<T>& a) {
  const double scale = load_scale(a.scale);
  return static_cast<compute_t<T>>(a.mean ? scale / static_cast<double>(a.size) : scale);
}

// Processes kCount vectors of kWidth elements from `at` on, kThreads vectors apart. Returns the sum of |x - y|; stores
// gradients times scale (kGrad) or terms, unless null. All vectors are loaded before the first store: the compiler
// cannot move loads above stores, as the arrays might overlap.
template <class T, int kWidth, bool kGrad, int kCount>
__device__ compute_t<T> visit(const ReconstructionArgs<T>& a, int64_t at, compute_t<T> scale, bool aligned) {
  using A = compute_t<T>;
  constexpr int kApart = kThreads * kWidth;
  Vector<T, kWidth> x[kCount], y[kCount];
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    x[row] = load_vector<T, kWidth>(a.x + at + row * kApart, aligned);
    y[row] = load_vector<T, kWidth>(a.y + at + row * kApart, aligned);
  }
  A sum = 0;
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    const int64_t here = at + row * kApart;
    Vector<T, kWidth> incoming, dx, dy;
    if (kGrad && a.incoming != nullptr) incoming = load_vector<T, kWidth>(a.incoming + here, aligned);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const A d = load(x[row].at[i]) - load(y[row].at[i]);
      sum += absolute(d);
      if (kGrad) {
        const A slope = (a.incoming != nullptr ? scale * load(incoming.at[i]) : scale) * sign(d);
        store(&dx.at[i], slope);
        store(&dy.at[i], -slope);
      } else if (a.terms != nullptr) {
        store(&dx.at[i], absolute(d));
      }
    }
    if (kGrad && a.dx != nullptr) store_vector<T, kWidth>(a.dx + here, dx, aligned);
    if (kGrad && a.dy != nullptr) store_vector<T, kWidth>(a.dy + here, dy, aligned);
    if (!kGrad && a.terms != nullptr) store_vector<T, kWidth>(a.terms + here, dx, aligned);
  }
  return sum;
}

template <class T, bool kGrad>
__device__ compute_t<T> visit_range(const ReconstructionArgs<T>& a) {
  constexpr int V = kVector<T>;
  const compute_t<T> scale = kGrad ? factor(a) : compute_t<T>(1);
  const int64_t start = static_cast<int64_t>(blockIdx.x) * a.span;
  const int64_t stop = start + a.span < a.size ? start + a.span : a.size;
  compute_t<T> sum = 0;
  int64_t tile = start;
  const auto add_tiles = [&](bool aligned) {
#pragma unroll 1
    for (; tile + kTile<T> <= stop; tile += kTile<T>)
      sum += visit<T, V, kGrad, kRows>(a, tile + static_cast<int>(threadIdx.x) * V, scale, aligned);
  };
  if (a.aligned)
    add_tiles(true);
  else
    add_tiles(false);
#pragma unroll 1
  for (int64_t at = tile + threadIdx.x; at < stop; at += kThreads) sum += visit<T, 1, kGrad, 1>(a, at, scale, true);
  return sum;
}

template <class T>
__device__ void finish(const ReconstructionArgs<T>& a) {
  using A = compute_t<T>;
  const A total = sum_in_order(a.partials, static_cast<int64_t>(gridDim.x));
  // the mean of an empty tensor is nan, as in PyTorch
  if (threadIdx.x == 0)
    store_element(a.loss.at, a.loss.dtype, static_cast<double>(a.mean ? total / static_cast<A>(a.size) : total));
}

template <class T, bool kGrad>
__global__ void __launch_bounds__(kThreads) reconstruction_kernel(const ReconstructionArgs<T> a) {
  const auto sum = block_sum(visit_range<T, kGrad>(a));
  if (threadIdx.x == 0) a.partials[blockIdx.x] = sum;
  if (is_last_of(gridDim.x, a.counter)) finish(a);
}

template <class T, bool kGrad>
__global__ void __launch_bounds__(kThreads) reconstruction_each_kernel(const ReconstructionArgs<T> a) {
  visit_range<T, kGrad>(a);
}

template <class T>
ReconstructionArgs<T> arguments(const ReconstructionCall& call, const void* incoming, void* terms, int64_t most_ranges) {
  ReconstructionArgs<T> a{};
  a.x = static_cast<const T*>(call.x);
  a.y = static_cast<const T*>(call.y);
  a.incoming = static_cast<const T*>(incoming);
  a.dx = static_cast<T*>(call.dx);
  a.dy = static_cast<T*>(call.dy);
  a.terms = static_cast<T*>(terms);
  a.size = call.size;
  a.span = ceil_div(ceil_div(call.size, most_ranges), kTile<T>) * kTile<T>;
  a.mean = call.mean;
  a.scale = call.scale;
  a.aligned = true;
  for (const void* each : {call.x, call.y, incoming, static_cast<const void*>(call.dx), static_cast<const void*>(call.dy),
                           static_cast<const void*>(terms)})
    a.aligned = a.aligned && is_aligned(each);
  return a;
}

template <class T, bool kGrad>
cudaError_t each(const ReconstructionCall& call, const void* incoming, void* terms) {
  const ReconstructionArgs<T> a = arguments<T>(call, incoming, terms, int64_t{1} << 30);
  if (call.size == 0) return cudaSuccess;
  FASTGAN_LAUNCH((reconstruction_each_kernel<T, kGrad>), ceil_div(call.size, a.span), call.where, a);
  return cudaGetLastError();
}

}  // namespace

cudaError_t reconstruction_loss(const ReconstructionCall& call, Workspace workspace, Result loss) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    ReconstructionArgs<T> a = arguments<T>(call, nullptr, nullptr, kMaxRanges);
    a.loss = loss;
    a.partials = static_cast<compute_t<T>*>(workspace.partials);
    a.counter = workspace.counters;
    const int64_t blocks = call.size == 0 ? 1 : ceil_div(call.size, a.span);  // an empty tensor has a loss too
    if (call.dx != nullptr || call.dy != nullptr)
      FASTGAN_LAUNCH((reconstruction_kernel<T, true>), blocks, call.where, a);
    else
      FASTGAN_LAUNCH((reconstruction_kernel<T, false>), blocks, call.where, a);
    return cudaGetLastError();
  });
}

cudaError_t reconstruction_terms(const ReconstructionCall& call, void* terms) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), false>(call, nullptr, terms); });
}

cudaError_t reconstruction_backward(const ReconstructionCall& call, const void* incoming) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), true>(call, incoming, nullptr); });
}

}  // namespace fastgan::cuda
