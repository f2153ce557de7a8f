// Tensors are split into ranges; the split depends only on sizes. A block sums one range, in tiles of kRows vectors per
// thread. For each element of its vectors, a thread multiplies the factors (1 + e) of a tile, so it needs one log1p per
// tile. The last block to finish adds up the ranges, in order. A few tensors of one range each are left to a single
// block, which need not wait for others.
#include "loss_ranges.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = kTileBytes / 16 / kThreads;  // a thread multiplies at most 8 * 8 factors (1 + e) <= 2: below 2^64

// Rows loaded together. The compiler cannot move a load above the store of the row before, as gradients might overlap
// the logits. double, used only to check gradients, has long exp and log1p: four rows would double the compile time.
template <class T, bool kGrad>
constexpr int kRowsInFlight = sizeof(T) == 8 || kGrad ? 2 : 4;

// Minimum number of blocks per multiprocessor: the largest for which ptxas spills no registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kResidentOfHalves = 2;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr int kResidentOfHalves = 4;
#else
constexpr int kResidentOfHalves = 3;
#endif

template <class T>
constexpr int kResident = sizeof(T) == 8 ? 2 : sizeof(T) == 4 ? 4 : kResidentOfHalves;

template <class T>
constexpr int kTile = kTileBytes / sizeof(T);

template <class A>
struct Sums {
  A loss = 0, output = 0, saturated = 0;
};

template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ void add_logit(const Terms<T, kKind>& terms, T logit, T* grad, compute_t<T> scale, compute_t<T>& product,
                          Sums<compute_t<T>>& sums) {
  using A = compute_t<T>;
  const A t = load(logit);
  const A e = terms.exponential(t);
  const AtLogit<A> here = terms.at(t, e);
  if (terms.kLogarithm) product = product_minus_one(product, e);
  sums.loss += here.term;
  if (kStats) {
    sums.output += here.output;
    sums.saturated += here.saturated;
  }
  if (kGrad) store(grad, scale * here.slope);
}

// The logarithm of the product of all (1 + product[i]).
template <class A, int V>
__device__ A log_of_products(A (&product)[V]) {
#pragma unroll
  for (int half = V / 2; half > 0; half /= 2)
#pragma unroll
    for (int i = 0; i < half; ++i) product[i] = product_minus_one(product[i], product[i + half]);
  return log1p_nonnegative(product[0]);
}

// Adds a tile to sums and stores its gradients: a whole tile at aligned addresses if kWhole, else the whole vectors of
// `count` elements at any address.
template <class T, Kind kKind, bool kStats, bool kGrad, bool kWhole>
__device__ void add_tile(const Range<T, kKind>& r, int64_t tile, int count, compute_t<T> scale,
                         Sums<compute_t<T>>& sums) {
  constexpr int V = kVector<T>, kApart = kThreads * V, kBatch = kWhole ? kRowsInFlight<T, kGrad> : 2;
  const bool aligned = kWhole || r.aligned;
  const auto is_there = [&](int at) { return kWhole || at + V <= count; };
  compute_t<T> product[V] = {};
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x) * V; at < kRows * kApart && is_there(at); at += kBatch * kApart) {
    Vector<T, V> logits[kBatch];
#pragma unroll
    for (int row = 0; row < kBatch; ++row)
      if (is_there(at + row * kApart)) logits[row] = load_vector<T, V>(r.logits + tile + at + row * kApart, aligned);
#pragma unroll
    for (int row = 0; row < kBatch; ++row)
      if (is_there(at + row * kApart)) {
        Vector<T, V> grad;
#pragma unroll
        for (int i = 0; i < V; ++i)
          add_logit<T, kKind, kStats, kGrad>(r.terms, logits[row].at[i], &grad.at[i], scale, product[i], sums);
        if (kGrad) store_vector<T, V>(r.output + tile + at + row * kApart, grad, aligned);
      }
  }
  if (r.terms.kLogarithm) sums.loss += log_of_products(product);
}

template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ Sums<compute_t<T>> sum_range(const Range<T, kKind>& r, compute_t<T> scale) {
  using A = compute_t<T>;
  Sums<A> sums;
  int64_t tile = 0;
  if (r.aligned)
#pragma unroll 1
    for (; tile + kTile<T> <= r.size; tile += kTile<T>)
      add_tile<T, kKind, kStats, kGrad, true>(r, tile, kTile<T>, scale, sums);
#pragma unroll 1
  for (; tile < r.size; tile += kTile<T>) {
    const int64_t left = r.size - tile;
    add_tile<T, kKind, kStats, kGrad, false>(r, tile, left < kTile<T> ? static_cast<int>(left) : kTile<T>, scale, sums);
  }
  // the elements after the last whole vector, one per thread
  const int64_t at = r.size - r.size % kVector<T> + threadIdx.x;
  if (at < r.size) {
    A product = 0;
    add_logit<T, kKind, kStats, kGrad>(r.terms, r.logits[at], kGrad ? r.output + at : nullptr, scale, product, sums);
    if (r.terms.kLogarithm) sums.loss += log1p_nonnegative(product);
  }
  return sums;
}

// A tensor's sums: of its terms and, if kStats, of D's outputs and of saturated logits.
template <bool kStats>
constexpr int kSums = kStats ? 3 : 1;

// The sums of one range of a tensor, in the first warp's threads.
template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ void sums_of_range(const LossArgs<T>& a, int which, int64_t index, compute_t<T> (&of_block)[kSums<kStats>]) {
  using A = compute_t<T>;
  const Range<T, kKind> range = range_of<kKind>(a, which, index);
  const Sums<A> sums = sum_range<T, kKind, kStats, kGrad>(range, kGrad ? factor(a, range) : A(1));
  of_block[0] = sums.loss;
  if constexpr (kStats) {
    of_block[1] = sums.output;
    of_block[2] = sums.saturated;
  }
  block_sums(of_block);
}

// A block sums a range of one tensor; a single block sums all tensors.
template <class T, Kind kKind, bool kStats, bool kGrad>
__global__ void __launch_bounds__(kThreads, kResident<T>) loss_kernel(const __grid_constant__ LossArgs<T> a) {
  using A = compute_t<T>;
  constexpr int N = kSums<kStats>;
  __shared__ PartSums<N, A> sums;
  A of_block[N];
  const int64_t blocks = gridDim.x;
  const bool is_alone = a.partials == nullptr;
  const int first = is_alone ? 0 : part_of(a.parts, blockIdx.x), end = is_alone ? a.parts.count : first + 1;
#pragma unroll 1
  for (int which = first; which < end; ++which) {
    sums_of_range<T, kKind, kStats, kGrad>(a, which, is_alone ? 0 : blockIdx.x - a.parts.blocks[which], of_block);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (threadIdx.x == 0) (is_alone ? sums.at[which][i] : a.partials[i * blocks + blockIdx.x]) = of_block[i];
  }
  int pieces = 1;
  if (!is_alone) {
    if (!is_last_of(gridDim.x, a.counter)) return;
    pieces = add_up_parts(a.parts, a.partials, blocks, sums);
  }
  if (threadIdx.x == 0) write_loss(a.parts, sums, pieces, a.total, a.details);
}

template <class T, Kind kKind>
void launch_loss(const LossArgs<T>& a, int64_t blocks, bool with_grad, Where where) {
  constexpr bool kAlwaysStats = kKind == Kind::plain;  // saves a kernel at the cost of two additions per element
  if (with_grad)
    FASTGAN_LAUNCH((loss_kernel<T, kKind, true, true>), blocks, where, a);
  else if (a.details != nullptr || kAlwaysStats)
    FASTGAN_LAUNCH((loss_kernel<T, kKind, true, false>), blocks, where, a);
  else
    FASTGAN_LAUNCH((loss_kernel<T, kKind, kAlwaysStats, false>), blocks, where, a);
}

// Whether gradients are wanted. Looks at all tensors, as the output of an empty one is null in any case.
bool has_outputs(const LossCall& call) {
  for (int i = 0; i < call.count; ++i)
    if (call.tensors[i].output != nullptr) return true;
  return false;
}

// Elements per block, whole tiles: at most kMaxRanges blocks for a single tensor, about kMostBlocks for several.
template <class T>
int64_t span_of(const LossCall& call) {
  const int64_t tiles = ceil_div(call.elements(), kTile<T> * (call.count == 1 ? kMaxRanges : kMostBlocks));
  return (tiles > 1 ? tiles : 1) * kTile<T>;
}

}  // namespace

cudaError_t loss_forward(const LossCall& call, Workspace workspace, Result total, void* details) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    LossArgs<T> a = arguments<T>(call, span_of<T>(call));
    a.total = total;
    a.details = static_cast<compute_t<T>*>(details);
    a.partials = static_cast<compute_t<T>*>(workspace.partials);
    a.counter = workspace.counters;
    // an empty tensor has a loss too
    const int64_t blocks = a.partials == nullptr || a.parts.all_blocks() == 0 ? 1 : a.parts.all_blocks();
    with_kind<T>(call, [&](auto kind) { launch_loss<T, kind()>(a, blocks, has_outputs(call), call.where); });
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
