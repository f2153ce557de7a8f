// A tensor of logits is cut into ranges, whose number depends on its size alone; a block sums one range, in tiles
// of kRows vectors a thread. Every lane of a vector keeps the product of (1 + e) down its column of the tile, and
// one log1p serves the thread's whole share. The block that arrives last adds the ranges up, in order.
#include "loss_ranges.cuh"
#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = 8;  // with 8 lanes a thread's product of 64 factors stays below 2^64

// Rows whose loads are in flight at once. The compiler would load a row when the one before is stored, as it cannot know
// that gradients do not overwrite logits. A double's exp and log1p are long: a quarter of the time that nvcc takes, if
// they were written out for four rows, and for a dtype that only checks gradients.
template <class T>
constexpr int kRowsInFlight = sizeof(T) == 8 ? 2 : 4;

template <class T>
constexpr int64_t kTile = int64_t{kRows} * kThreads * kVector<T>;

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

template <class T, Kind kKind, bool kStats, bool kGrad, bool kAligned>
__device__ void add_tile(const Range<T, kKind>& r, int64_t tile, compute_t<T> scale, Sums<compute_t<T>>& sums) {
  constexpr int V = kVector<T>, kBatch = kAligned ? kRowsInFlight<T> : 1;
  compute_t<T> product[V] = {};
  int64_t at = tile + static_cast<int>(threadIdx.x) * V;
#pragma unroll 1
  for (int batch = 0; batch < kRows; batch += kBatch) {
    Vector<T, V> logits[kBatch];
#pragma unroll
    for (int row = 0; row < kBatch; ++row)
      logits[row] = load_vector<T, V>(r.logits + at + row * kThreads * V, kAligned);
#pragma unroll
    for (int row = 0; row < kBatch; ++row) {
      Vector<T, V> grad;
#pragma unroll
      for (int i = 0; i < V; ++i)
        add_logit<T, kKind, kStats, kGrad>(r.terms, logits[row].at[i], &grad.at[i], scale, product[i], sums);
      if (kGrad) store_vector<T, V>(r.grad + at + row * kThreads * V, grad, kAligned);
    }
    at += kBatch * kThreads * V;
  }
  if (r.terms.kLogarithm) sums.loss += log_of_products(product);
}

template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ Sums<compute_t<T>> sum_range(const Range<T, kKind>& r, compute_t<T> scale) {
  using A = compute_t<T>;
  Sums<A> sums;
  int64_t tile = r.start;
  if (r.aligned)
    for (; tile + kTile<T> <= r.stop; tile += kTile<T>) add_tile<T, kKind, kStats, kGrad, true>(r, tile, scale, sums);
  else
    for (; tile + kTile<T> <= r.stop; tile += kTile<T>) add_tile<T, kKind, kStats, kGrad, false>(r, tile, scale, sums);
  if (tile < r.stop) {
    A product = 0;
#pragma unroll 1
    for (int64_t at = tile + threadIdx.x; at < r.stop; at += kThreads)
      add_logit<T, kKind, kStats, kGrad>(r.terms, r.logits[at], kGrad ? r.grad + at : nullptr, scale, product, sums);
    if (r.terms.kLogarithm) sums.loss += log1p_nonnegative(product);
  }
  return sums;
}

template <class T>
__device__ void finish(const LossArgs<T>& a, int64_t blocks) {
  using A = compute_t<T>;
  A total = 0, saturated = 0;
  for (int which = 0; which < a.count; ++which) {
    const int64_t first = which == 0 ? 0 : a.tensors[0].blocks, own = a.tensors[which].blocks;
    const A size = static_cast<A>(a.tensors[which].size);
    const A loss = sum_in_order(a.partials + first, own);
    total += a.mean ? loss / size : loss;  // the mean of nothing is nan, as in PyTorch
    if (a.stats == nullptr) continue;
    const A output = sum_in_order(a.partials + blocks + first, own);
    saturated += sum_in_order(a.partials + 2 * blocks + first, own);
    if (threadIdx.x == 0) a.stats[which] = static_cast<float>(output / size);
  }
  if (threadIdx.x != 0) return;
  store_element(a.loss, a.loss_dtype, static_cast<double>(static_cast<A>(a.sign) * total));
  if (a.stats != nullptr)
    a.stats[a.count] = static_cast<float>(saturated / static_cast<A>(a.tensors[0].size + a.tensors[1].size));
}

template <class T, Kind kFirst, bool kStats, bool kGrad>
__global__ void __launch_bounds__(kThreads) loss_kernel(const LossArgs<T> a) {
  using A = compute_t<T>;
  const bool is_first = blockIdx.x < a.tensors[0].blocks;
  const A scale = kGrad ? factor(a, a.tensors[is_first ? 0 : 1].size) : A(1);
  Sums<A> sums;
  if (is_first || kSecond<kFirst> == kFirst)  // compiled once where both tensors have the same arithmetic
    sums = sum_range<T, kFirst, kStats, kGrad>(own_range<kFirst>(a, is_first), scale);
  else
    sums = sum_range<T, kSecond<kFirst>, kStats, kGrad>(own_range<kSecond<kFirst>>(a, false), scale);
  const int64_t blocks = gridDim.x;
  const A loss = block_sum(sums.loss);
  const A output = kStats ? block_sum(sums.output) : A(0), saturated = kStats ? block_sum(sums.saturated) : A(0);
  if (threadIdx.x == 0) {
    a.partials[blockIdx.x] = loss;
    a.partials[blocks + blockIdx.x] = output;
    a.partials[2 * blocks + blockIdx.x] = saturated;
  }
  if (is_last_of(gridDim.x, a.counter)) finish(a, blocks);
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
  const int64_t used = a.tensors[0].blocks + a.tensors[1].blocks;
  const int64_t blocks = used > 0 ? used : 1;  // an empty input has a loss too
  const bool with_grad = call.tensors[0].output != nullptr || call.tensors[1].output != nullptr;
  with_kind(call, [&](auto kind) { launch_loss<T, kind()>(a, blocks, with_grad, call.stream); });
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
