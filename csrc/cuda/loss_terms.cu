// Kernels without sums: the terms of a loss, and its gradients.
#include "loss_ranges.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kVectorsPerThread = 4;

template <class T>
constexpr int kSpan = kVectorsPerThread * kThreads * kVector<T>;

enum class Wanted { terms, slopes, slopes_times_incoming };

template <Wanted kWanted>
constexpr bool kTimesIncoming = kWanted == Wanted::slopes_times_incoming;

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

// Processes kCount vectors. All are loaded before the first store: the compiler cannot move loads above stores, as the
// arrays might overlap. They are also loaded before the scale, so that the latencies overlap.
template <class T, Kind kKind, Wanted kWanted, int kCount>
__device__ void each_of_vectors(const LossArgs<T>& a, const Range<T, kKind>& r, int at, bool aligned) {
  constexpr int V = kVector<T>, kApart = kThreads * V;
  Vector<T, V> logits[kCount], factors[kCount];
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    logits[row] = load_vector<T, V>(r.logits + at + row * kApart, aligned);
    if (kTimesIncoming<kWanted>) factors[row] = load_vector<T, V>(r.incoming + at + row * kApart, aligned);
  }
  const auto scale = factor(a, r);
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i)
      result.at[i] = term_or_slope<T, kKind, kWanted>(
          r.terms, logits[row].at[i], kTimesIncoming<kWanted> ? scale * load(factors[row].at[i]) : scale);
    store_vector<T, V>(r.output + at + row * kApart, result, aligned);
  }
}

template <class T, Kind kKind, Wanted kWanted>
__device__ void each_of_range(const LossArgs<T>& a, const Range<T, kKind>& r) {
  constexpr int V = kVector<T>;
  const int size = static_cast<int>(r.size);  // at most kSpan
  int at = static_cast<int>(threadIdx.x) * V;
  if (r.aligned && size == kSpan<T>) {
    each_of_vectors<T, kKind, kWanted, kVectorsPerThread>(a, r, at, true);
    return;
  }
#pragma unroll 1
  for (; at + V <= size; at += kThreads * V) each_of_vectors<T, kKind, kWanted, 1>(a, r, at, r.aligned);
  if (at >= size) return;
  const auto scale = factor(a, r);
#pragma unroll 1
  for (const int end = at + V; at < end && at < size; ++at)
    r.output[at] = term_or_slope<T, kKind, kWanted>(
        r.terms, r.logits[at], kTimesIncoming<kWanted> ? scale * load(r.incoming[at]) : scale);
}

// A block processes tiles blockIdx.x, blockIdx.x + gridDim.x, ...
template <class T, Kind kKind, Wanted kWanted>
__global__ void __launch_bounds__(kThreads, kTimesIncoming<kWanted> ? 2 : 3) each_kernel(const __grid_constant__ LossArgs<T> a) {
  if (kWanted == Wanted::slopes && a.are_for_one && load_scale(a.scale) == 1) return;
  const int64_t tiles = a.parts.blocks[a.parts.count];
#pragma unroll 1
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int which = part_of(a.parts, tile);
    each_of_range<T, kKind, kWanted>(a, range_of<kKind>(a, which, tile - a.parts.blocks[which]));
  }
}

// If are_for_one, blocks usually find nothing to do. Fewer blocks start faster, and these still fill a GPU.
constexpr int64_t kMaxBlocksIfForOne = kMaxRanges / 2;

template <class T, Wanted kWanted>
cudaError_t each(const LossCall& call, bool are_for_one) {
  // Few logits are spread over more blocks, one vector per thread, so that every thread waits for memory only once.
  constexpr int64_t kRow = kThreads * kVector<T>;
  LossArgs<T> a = arguments<T>(call, call.elements() <= kMaxRanges / 2 * kRow ? kRow : kSpan<T>);
  a.are_for_one = are_for_one;
  const int64_t tiles = a.parts.all_blocks();
  if (tiles == 0) return cudaSuccess;
  const int64_t blocks = are_for_one && tiles > kMaxBlocksIfForOne ? kMaxBlocksIfForOne : tiles;
  with_kind<T>(call, [&](auto kind) { FASTGAN_LAUNCH((each_kernel<T, kind(), kWanted>), blocks, call.where, a); });
  return cudaGetLastError();
}

}  // namespace

cudaError_t loss_terms(const LossCall& call) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), Wanted::terms>(call, false); });
}

cudaError_t loss_backward(const LossCall& call, bool are_for_one) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (call.tensors[0].incoming != nullptr) return each<T, Wanted::slopes_times_incoming>(call, false);
    return each<T, Wanted::slopes>(call, are_for_one);
  });
}

}  // namespace fastgan::cuda
