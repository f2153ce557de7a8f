// As in losses.cu, a block sums one range of one pair, in tiles, and the last block to finish adds up the ranges in
// order. Inputs are read once; gradients are written in the same pass.
#include "l1.h"

#include "parts.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = 2;  // vectors per thread in a tile

template <class T>
constexpr int64_t kTile = int64_t{kRows} * kThreads * kVector<T>;

template <class T>
struct L1Args {
  PartsOf<kMostPairs> parts;
  struct Pair {
    const T *x, *y;
    T *dx, *dy;
  } pairs[kMostPairs];
  uint64_t unaligned;  // bit i: an address of pair i is not a multiple of 16
  int64_t span;        // elements per block
  const T* incoming;   // of the first pair
  T* terms;            // of the first pair
  Scale scale;
  Result loss;
  compute_t<T>* partials;  // [blocks]
  unsigned* counter;
};
static_assert(sizeof(L1Args<float>) <= 4096, "the most that a launch takes");
static_assert(kMostPairs <= 64, "one bit each");

// A block's range of one pair.
template <class T>
struct Range {
  const T *x, *y, *incoming;
  T *dx, *dy, *terms;
  int64_t size;
  compute_t<T> scale;  // factor of the gradients
  bool aligned;
};

template <class T, bool kGrad>
__device__ Range<T> range_of(const L1Args<T>& a) {
  const int which = part_of(a.parts, blockIdx.x);
  const auto& pair = a.pairs[which];
  const int64_t start = (blockIdx.x - a.parts.blocks[which]) * a.span, left = a.parts.sizes[which] - start;
  const auto from = [start](auto* address) { return address == nullptr ? nullptr : address + start; };
  return {pair.x + start,
          pair.y + start,
          from(a.incoming),
          from(pair.dx),
          from(pair.dy),
          from(a.terms),
          left < a.span ? left : a.span,
          kGrad ? static_cast<compute_t<T>>(a.parts.weights[which] * load_scale(a.scale)) : compute_t<T>(1),
          (a.unaligned >> which & 1) == 0};
}

// Processes kCount vectors of kWidth elements from `at` on, kThreads vectors apart. Returns the sum of |x - y|; stores
// gradients times scale (kGrad) or terms, unless null. All vectors are loaded before the first store: the compiler
// cannot move loads above stores, as the arrays might overlap.
template <class T, int kWidth, bool kGrad, int kCount>
__device__ compute_t<T> visit(const Range<T>& a, int64_t at, bool aligned) {
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
        const A slope = (a.incoming != nullptr ? a.scale * load(incoming.at[i]) : a.scale) * sign(d);
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
__device__ compute_t<T> visit_range(const Range<T>& range) {
  constexpr int V = kVector<T>;
  compute_t<T> sum = 0;
  int64_t tile = 0;
  const auto add_tiles = [&](bool aligned) {
#pragma unroll 1
    for (; tile + kTile<T> <= range.size; tile += kTile<T>)
      sum += visit<T, V, kGrad, kRows>(range, tile + static_cast<int>(threadIdx.x) * V, aligned);
  };
  if (range.aligned)
    add_tiles(true);
  else
    add_tiles(false);
#pragma unroll 1
  for (int64_t at = tile + threadIdx.x; at < range.size; at += kThreads) sum += visit<T, 1, kGrad, 1>(range, at, true);
  return sum;
}

template <class T, bool kGrad>
__global__ void __launch_bounds__(kThreads) l1_kernel(const __grid_constant__ L1Args<T> a) {
  __shared__ PartSums<1, compute_t<T>, kMostPairs> sums;
  // without elements there is one block, for the loss
  const auto sum = block_sum(a.parts.blocks[a.parts.count] == 0 ? 0 : visit_range<T, kGrad>(range_of<T, kGrad>(a)));
  if (threadIdx.x == 0) a.partials[blockIdx.x] = sum;
  if (!is_last_of(gridDim.x, a.counter)) return;
  const int pieces = add_up_parts(a.parts, a.partials, gridDim.x, sums);
  if (threadIdx.x == 0) write_loss(a.parts, sums, pieces, a.loss, static_cast<compute_t<T>*>(nullptr));
}

template <class T, bool kGrad>
__global__ void __launch_bounds__(kThreads) l1_each_kernel(const __grid_constant__ L1Args<T> a) {
  visit_range<T, kGrad>(range_of<T, kGrad>(a));
}

// most_ranges: about so many blocks, plus one for each pair.
template <class T>
L1Args<T> arguments(const L1Call& call, int64_t most_ranges) {
  L1Args<T> a{};
  a.scale = call.scale;
  a.incoming = static_cast<const T*>(call.pairs[0].incoming);
  const int64_t tiles = ceil_div(call.elements(), kTile<T> * most_ranges);
  a.span = (tiles > 1 ? tiles : 1) * kTile<T>;
  for (int i = 0; i < call.count; ++i) {
    const L1Pair& from = call.pairs[i];
    a.parts.add(from.size, from.weight, a.span);
    a.pairs[i] = {static_cast<const T*>(from.x), static_cast<const T*>(from.y), static_cast<T*>(from.dx),
                  static_cast<T*>(from.dy)};
    for (const void* each : {from.x, from.y, from.incoming, static_cast<const void*>(from.dx),
                             static_cast<const void*>(from.dy)})
      if (!is_aligned(each)) a.unaligned |= uint64_t{1} << i;
  }
  return a;
}

constexpr int64_t kAnyNumber = int64_t{1} << 30;

template <class T, bool kGrad>
cudaError_t each(const L1Args<T>& a, Where where) {
  if (a.parts.all_blocks() == 0) return cudaSuccess;
  FASTGAN_LAUNCH((l1_each_kernel<T, kGrad>), a.parts.all_blocks(), where, a);
  return cudaGetLastError();
}

bool has_gradients(const L1Call& call) {
  for (int i = 0; i < call.count; ++i)
    if (call.pairs[i].dx != nullptr || call.pairs[i].dy != nullptr) return true;
  return false;
}

}  // namespace

cudaError_t l1_loss(const L1Call& call, Workspace workspace, Result loss) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    L1Args<T> a = arguments<T>(call, call.count == 1 ? kMaxRanges : kMostBlocks);
    a.loss = loss;
    a.partials = static_cast<compute_t<T>*>(workspace.partials);
    a.counter = workspace.counters;
    const int64_t blocks = a.parts.all_blocks() == 0 ? 1 : a.parts.all_blocks();
    if (has_gradients(call))
      FASTGAN_LAUNCH((l1_kernel<T, true>), blocks, call.where, a);
    else
      FASTGAN_LAUNCH((l1_kernel<T, false>), blocks, call.where, a);
    return cudaGetLastError();
  });
}

cudaError_t l1_terms(const L1Call& call, void* terms) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    L1Args<T> a = arguments<T>(call, kAnyNumber);
    a.terms = static_cast<T*>(terms);
    if (!is_aligned(terms)) a.unaligned = 1;
    return each<T, false>(a, call.where);
  });
}

cudaError_t l1_backward(const L1Call& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    return each<T, true>(arguments<T>(call, kAnyNumber), call.where);
  });
}

}  // namespace fastgan::cuda
