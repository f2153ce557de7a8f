// A tensor of logits is cut into ranges, whose number depends on its size alone; a block sums one range, in tiles
// of kRows vectors a thread. Every lane of a vector keeps the product of (1 + e) down its column of the tile, and
// one log1p serves the thread's whole share. The block that arrives last adds the ranges up, in order. Tensors of
// one range each have one block, which has nothing to wait for.
#include "loss_ranges.cuh"
#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = kTileBytes / 16 / kThreads;  // with 8 lanes a thread's product of 64 factors stays below 2^64

// Rows whose loads are in flight at once. The compiler would load a row when the one before is stored, as it cannot
// know that gradients do not overwrite logits. A double's exp and log1p are long: written out for four rows they would
// take nvcc twice the time, for a dtype that only checks gradients.
template <class T, bool kGrad>
constexpr int kRowsInFlight = sizeof(T) == 8 || kGrad ? 2 : 4;

// Blocks that a multiprocessor can hold, at least: as many as ptxas finds registers for without spills.
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

// log(1 + product) of a vector of products, in product[0] and so for all of them.
template <class A, int V>
__device__ A log_of_products(A (&product)[V]) {
#pragma unroll
  for (int half = V / 2; half > 0; half /= 2)
#pragma unroll
    for (int i = 0; i < half; ++i) product[i] = product_minus_one(product[i], product[i + half]);
  return log1p_nonnegative(product[0]);
}

// A whole tile at aligned addresses; or one of `count` elements, at any.
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
        if (kGrad) store_vector<T, V>(r.grad + tile + at + row * kApart, grad, aligned);
      }
  }
  if (r.terms.kLogarithm) sums.loss += log_of_products(product);
}

template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ Sums<compute_t<T>> sum_range(const Range<T, kKind>& r, compute_t<T> scale) {
  using A = compute_t<T>;
  Sums<A> sums;
  int64_t tile = r.start;
  if (r.aligned)
#pragma unroll 1
    for (; tile + kTile<T> <= r.stop; tile += kTile<T>)
      add_tile<T, kKind, kStats, kGrad, true>(r, tile, kTile<T>, scale, sums);
#pragma unroll 1
  for (; tile < r.stop; tile += kTile<T>) {
    const int64_t left = r.stop - tile;
    add_tile<T, kKind, kStats, kGrad, false>(r, tile, left < kTile<T> ? static_cast<int>(left) : kTile<T>, scale, sums);
  }
  // what is left behind the last whole vector, an element a thread
  const int64_t at = r.stop - r.stop % kVector<T> + threadIdx.x;
  if (r.start <= at && at < r.stop) {
    A product = 0;
    add_logit<T, kKind, kStats, kGrad>(r.terms, r.logits[at], kGrad ? r.grad + at : nullptr, scale, product, sums);
    if (r.terms.kLogarithm) sums.loss += log1p_nonnegative(product);
  }
  return sums;
}

// What is known of a tensor: the sums of its terms, of D's outputs and of saturated logits; the last two with kStats.
template <bool kStats>
constexpr int kSums = kStats ? 3 : 1;

// Loss and statistics from the sums of each tensor, by one thread.
template <class T, int N>
__device__ void finish(const LossArgs<T>& a, const compute_t<T> (&sums)[2][N]) {
  using A = compute_t<T>;
  A total = 0, saturated = 0;
  for (int which = 0; which < a.count; ++which) {
    const A size = static_cast<A>(a.tensors[which].size);
    total += a.mean ? sums[which][0] / size : sums[which][0];  // the mean of nothing is nan, as in PyTorch
    if constexpr (N == kSums<true>) {
      if (a.stats != nullptr) a.stats[which] = static_cast<float>(sums[which][1] / size);
      saturated += sums[which][2];
    }
  }
  store_element(a.loss, a.loss_dtype, static_cast<double>(static_cast<A>(a.sign) * total));
  if (a.stats != nullptr)
    a.stats[a.count] = static_cast<float>(saturated / static_cast<A>(a.tensors[0].size + a.tensors[1].size));
}

// The sums of one range of a tensor, in the first warp.
template <class T, Kind kFirst, bool kStats, bool kGrad>
__device__ void sums_of_range(const LossArgs<T>& a, bool is_first, int64_t index,
                              compute_t<T> (&of_block)[kSums<kStats>]) {
  using A = compute_t<T>;
  const A scale = kGrad ? factor(a, a.tensors[is_first ? 0 : 1].size) : A(1);
  Sums<A> sums;
  if (is_first || kSecond<T, kFirst> == kFirst)  // compiled once where both tensors have the same arithmetic
    sums = sum_range<T, kFirst, kStats, kGrad>(range_of<kFirst>(a, is_first, index), scale);
  else
    sums = sum_range<T, kSecond<T, kFirst>, kStats, kGrad>(range_of<kSecond<T, kFirst>>(a, false, index), scale);
  of_block[0] = sums.loss;
  if constexpr (kStats) {
    of_block[1] = sums.output;
    of_block[2] = sums.saturated;
  }
  block_sums(of_block);
}

// A block has a range of one tensor; a single one has both tensors.
template <class T, Kind kFirst, bool kStats, bool kGrad>
__global__ void __launch_bounds__(kThreads, kResident<T>) loss_kernel(const LossArgs<T> a) {
  using A = compute_t<T>;
  constexpr int N = kSums<kStats>;
  __shared__ A sums[2][N];
  A of_block[N];
  const int64_t blocks = gridDim.x;
  const bool is_alone = blocks == 1;
  const int own = blockIdx.x < a.tensors[0].blocks ? 0 : 1;
#pragma unroll 1
  for (int which = is_alone ? 0 : own; which < (is_alone ? a.count : own + 1); ++which) {
    const int64_t index = is_alone ? 0 : blockIdx.x - (which == 0 ? 0 : a.tensors[0].blocks);
    sums_of_range<T, kFirst, kStats, kGrad>(a, which == 0, index, of_block);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (threadIdx.x == 0) (is_alone ? sums[which][i] : a.partials[i * blocks + blockIdx.x]) = of_block[i];
  }
  if (!is_alone) {
    if (!is_last_of(gridDim.x, a.counter)) return;
    for (int which = 0; which < a.count; ++which) {
      const A* partials = a.partials + (which == 0 ? 0 : a.tensors[0].blocks);
      sums_in_order(partials, blocks, a.tensors[which].blocks, of_block);
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (threadIdx.x == 0) sums[which][i] = of_block[i];
    }
  }
  if (threadIdx.x == 0) finish<T, N>(a, sums);
}

template <class T, Kind kFirst>
void launch_loss(const LossArgs<T>& a, int64_t blocks, bool with_grad, cudaStream_t stream) {
  constexpr bool kAlwaysStats = kFirst == Kind::any_loss;  // two additions an element, and a kernel less to compile
  if (with_grad)
    FASTGAN_LAUNCH((loss_kernel<T, kFirst, true, true>), blocks, stream, a);
  else if (a.stats != nullptr || kAlwaysStats)
    FASTGAN_LAUNCH((loss_kernel<T, kFirst, true, false>), blocks, stream, a);
  else
    FASTGAN_LAUNCH((loss_kernel<T, kFirst, kAlwaysStats, false>), blocks, stream, a);
}

template <class T>
cudaError_t forward(const LossCall& call, Workspace workspace, const void* scale, DType scale_dtype, void* loss,
                    DType loss_dtype, float* stats) {
  LossArgs<T> a = arguments<T>(call, kTile<T>, kMaxRanges);
  a.scale = scale;
  a.scale_dtype = scale_dtype;
  a.loss = loss;
  a.loss_dtype = loss_dtype;
  a.stats = stats;
  a.partials = static_cast<compute_t<T>*>(workspace.partials);
  a.counter = workspace.counters;
  const bool fits_one = a.tensors[0].blocks <= 1 && a.tensors[1].blocks <= 1;  // an empty input has a loss too
  const int64_t blocks = fits_one ? 1 : a.tensors[0].blocks + a.tensors[1].blocks;
  const bool with_grad = call.tensors[0].output != nullptr || call.tensors[1].output != nullptr;
  with_kind<T>(call, [&](auto kind) { launch_loss<T, kind()>(a, blocks, with_grad, call.stream); });
  return cudaGetLastError();
}

}  // namespace

cudaError_t loss_forward(const LossCall& call, Workspace workspace, const void* scale, DType scale_dtype, void* loss,
                         DType loss_dtype, float* stats) {
  return with_type(call.dtype, [&](auto zero) {
    return forward<decltype(zero)>(call, workspace, scale, scale_dtype, loss, loss_dtype, stats);
  });
}

}  // namespace fastgan::cuda
