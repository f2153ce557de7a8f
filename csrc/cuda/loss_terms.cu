// What has an element for each logit: the terms of a loss, and its gradients alone. No sum, so no tile and no order.
#include "loss_ranges.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kVectors = 4;  // of a thread

template <class T>
constexpr int64_t kSpan = int64_t{kVectors} * kThreads * kVector<T>;

enum class Wanted { terms, slopes, slopes_times_incoming };

template <Wanted kWanted>
constexpr bool kTimesIncoming = kWanted == Wanted::slopes_times_incoming;

// A term or a slope, times scale.
template <class T, Kind kKind, Wanted kWanted>
__device__ T term_or_slope(const Terms<T, kKind>& terms, T logit, compute_t<T> scale) {
  using A = compute_t<T>;
  const A t = load(logit);
  const A e = terms.exponential(t);
  const AtLogit<A> here = terms.at(t, e);
  T result;
  if constexpr (kWanted == Wanted::terms)
    store(&result, scale * (terms.kLogarithm ? here.term + log1p_nonnegative(e) : here.term));
  else
    store(&result, scale * here.slope);
  return result;
}

// kCount vectors, a block apart. All are loaded before the first is stored, which the compiler would not do, as
// results may overwrite logits for all it knows; and before the scale is there, which takes as long to arrive.
template <class T, Kind kKind, Wanted kWanted, int kCount>
__device__ void each_of_vectors(const Range<T, kKind>& r, const LossArgs<T>& a,
                                const typename LossArgs<T>::Tensor& tensor, int64_t at, bool aligned) {
  constexpr int V = kVector<T>, kApart = kThreads * V;
  Vector<T, V> logits[kCount], factors[kCount];
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    logits[row] = load_vector<T, V>(r.logits + at + row * kApart, aligned);
    if (kTimesIncoming<kWanted>) factors[row] = load_vector<T, V>(tensor.incoming + at + row * kApart, aligned);
  }
  const auto scale = factor(a, tensor.size);
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i)
      result.at[i] = term_or_slope<T, kKind, kWanted>(
          r.terms, logits[row].at[i], kTimesIncoming<kWanted> ? scale * load(factors[row].at[i]) : scale);
    store_vector<T, V>(r.grad + at + row * kApart, result, aligned);
  }
}

template <class T, Kind kKind, Wanted kWanted>
__device__ void each_of_range(const Range<T, kKind>& r, const LossArgs<T>& a,
                              const typename LossArgs<T>::Tensor& tensor) {
  constexpr int V = kVector<T>;
  int64_t at = r.start + static_cast<int64_t>(threadIdx.x) * V;
  if (r.aligned && r.stop - r.start == kSpan<T>) {
    each_of_vectors<T, kKind, kWanted, kVectors>(r, a, tensor, at, true);
    return;
  }
#pragma unroll 1
  for (; at + V <= r.stop; at += kThreads * V)
    each_of_vectors<T, kKind, kWanted, 1>(r, a, tensor, at, r.aligned);
  if (at >= r.stop) return;
  const auto scale = factor(a, tensor.size);
#pragma unroll 1
  for (const int64_t end = at + V; at < end && at < r.stop; ++at)
    r.grad[at] = term_or_slope<T, kKind, kWanted>(
        r.terms, r.logits[at], kTimesIncoming<kWanted> ? scale * load(tensor.incoming[at]) : scale);
}

// Tiles of the first tensor, then of the second, as many as a block's turn brings it.
template <class T, Kind kFirst, Wanted kWanted>
__global__ void __launch_bounds__(kThreads, 3) each_kernel(const LossArgs<T> a) {
  if (kWanted == Wanted::slopes && a.are_for_one && load_scale(a.scale, a.scale_dtype) == 1) return;
  const int64_t tiles = a.tensors[0].blocks + a.tensors[1].blocks;
#pragma unroll 1
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const bool is_first = tile < a.tensors[0].blocks;
    const auto& tensor = a.tensors[is_first ? 0 : 1];
    const int64_t index = tile - (is_first ? 0 : a.tensors[0].blocks);
    if (is_first || kSecond<T, kFirst> == kFirst)
      each_of_range<T, kFirst, kWanted>(range_of<kFirst>(a, is_first, index), a, tensor);
    else
      each_of_range<T, kSecond<T, kFirst>, kWanted>(range_of<kSecond<T, kFirst>>(a, false, index), a, tensor);
  }
}

// Of a launch that mostly finds nothing to do: each block costs, but these few still fill a GPU.
constexpr int64_t kMostBlocksToLook = kMaxRanges / 2;

template <class T, Wanted kWanted>
cudaError_t each(const LossCall& call, const void* scale, DType scale_dtype, bool are_for_one = false) {
  // Few logits are spread over more blocks, of a vector a thread: they end when the slowest has waited for memory once.
  constexpr int64_t kRow = kThreads * kVector<T>;
  const bool are_few = call.tensors[0].size + call.tensors[1].size <= kMaxRanges / 2 * kRow;
  LossArgs<T> a = arguments<T>(call, are_few ? kRow : kSpan<T>, int64_t{1} << 30);
  a.scale = scale;
  a.scale_dtype = scale_dtype;
  a.are_for_one = are_for_one;
  const int64_t tiles = a.tensors[0].blocks + a.tensors[1].blocks;
  if (tiles == 0) return cudaSuccess;
  const int64_t blocks = are_for_one && tiles > kMostBlocksToLook ? kMostBlocksToLook : tiles;
  with_kind<T>(call, [&](auto kind) { FASTGAN_LAUNCH((each_kernel<T, kind(), kWanted>), blocks, call.stream, a); });
  return cudaGetLastError();
}

}  // namespace

cudaError_t loss_terms(const LossCall& call) {
  return with_type(call.dtype,
                   [&](auto zero) { return each<decltype(zero), Wanted::terms>(call, nullptr, DType::f32); });
}

cudaError_t loss_backward(const LossCall& call, const void* scale, DType scale_dtype, bool are_for_one) {
  return with_type(call.dtype, [&](auto zero) {
    return each<decltype(zero), Wanted::slopes>(call, scale, scale_dtype, are_for_one);
  });
}

cudaError_t loss_terms_backward(const LossCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    return each<decltype(zero), Wanted::slopes_times_incoming>(call, nullptr, DType::f32);
  });
}

}  // namespace fastgan::cuda
