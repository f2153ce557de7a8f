// A tensor of logits is cut into ranges, whose number depends on its size alone; a block sums one range, in tiles
// of kRows vectors a thread. Every lane of a vector keeps the product of (1 + e) down its column of the tile, and
// one log1p serves the thread's whole share. The block that arrives last adds the ranges up, in order.
#include "losses.h"

#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRows = 8;  // with 8 lanes a thread's product of 64 factors stays below 2^64

template <class T>
constexpr int64_t kTile = int64_t{kRows} * kThreads * kVector<T>;

// Cross-entropy is compiled for each kind of label: one at either end leaves one softplus out, which is less to
// compute, and no 0 * inf. Any other loss is a few instructions an element and is chosen at run time, by a branch that
// all threads take alike: compiled one by one, they would double the time that nvcc takes.
enum class Kind { label_zero, label_one, label_between, any_loss };

template <Kind kKind>
using KindOf = std::integral_constant<Kind, kKind>;

// work(kind) for the first tensor's, as a constant.
template <class Work>
void with_kind(const LossCall& call, const Work& work) {
  if (call.loss != Loss::cross_entropy)
    work(KindOf<Kind::any_loss>{});
  else if (call.tensors[0].label == 0)
    work(KindOf<Kind::label_zero>{});
  else if (call.tensors[0].label == 1)
    work(KindOf<Kind::label_one>{});
  else
    work(KindOf<Kind::label_between>{});
}

// A loss and a label, and the arithmetic for logits that are stored as T.
template <class T, Kind kKind>
struct Terms {
  using A = compute_t<T>;
  static constexpr bool kLogarithm = kKind != Kind::any_loss;
  Loss loss;
  A label;

  __device__ A exponential(A t) const {
    if constexpr (kLogarithm) return exp_minus_abs_of<T>(t);
    return A(0);
  }

  __device__ AtLogit<A> at(A t, A e) const {
    if constexpr (kKind == Kind::any_loss)
      return with_plain_loss(loss, [&](auto plain) { return decltype(plain)::at(t, e, label); });
    AtLogit<A> here = CrossEntropy::at(t, e, label);
    if constexpr (kKind == Kind::label_zero) {
      here.term = t > A(0) ? t : A(0);
      here.slope = sigmoid(t, e);
    } else if constexpr (kKind == Kind::label_one) {
      here.term = t > A(0) ? A(0) : -t;
      here.slope = -sigmoid(-t, e);
    }
    return here;
  }
};

template <class T, Kind kKind>
struct Range {
  Terms<T, kKind> terms;
  const T* logits;
  T* grad;
  int64_t start, stop;
  compute_t<T> scale;
  bool aligned;
};

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

template <class T, Kind kKind, bool kStats, bool kGrad>
__device__ Sums<compute_t<T>> sum_range(const Range<T, kKind>& r) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>;
  Sums<A> sums;
  int64_t tile = r.start;
  for (; tile + kTile<T> <= r.stop; tile += kTile<T>) {
    A product[V] = {};
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const int64_t at = tile + (row * kThreads + static_cast<int>(threadIdx.x)) * V;
      const auto logits = load_vector<T, V>(r.logits + at, r.aligned);
      Vector<T, V> grad;
#pragma unroll
      for (int i = 0; i < V; ++i)
        add_logit<T, kKind, kStats, kGrad>(r.terms, logits.at[i], &grad.at[i], r.scale, product[i], sums);
      if (kGrad) store_vector<T, V>(r.grad + at, grad, r.aligned);
    }
    if (r.terms.kLogarithm) sums.loss += log_of_products(product);
  }
  if (tile < r.stop) {
    A product = 0;
#pragma unroll 1
    for (int64_t at = tile + threadIdx.x; at < r.stop; at += kThreads)
      add_logit<T, kKind, kStats, kGrad>(r.terms, r.logits[at], kGrad ? r.grad + at : nullptr, r.scale, product, sums);
    if (r.terms.kLogarithm) sums.loss += log1p_nonnegative(product);
  }
  return sums;
}

template <class T>
struct LossArgs {
  Loss of;
  struct Tensor {
    const T* logits;
    const T* incoming;
    T* output;
    int64_t size;
    int64_t blocks;
    double label;
  } tensors[2];
  int count;
  int64_t span;  // elements of a block
  bool aligned;
  double sign;
  bool mean;
  const void* scale;
  DType scale_dtype;
  void* loss;
  DType loss_dtype;
  float* stats;
  compute_t<T>* partials;  // [3, blocks]
  unsigned* counter;
};

// What multiplies the terms or gradients of a tensor.
template <class T>
__device__ compute_t<T> factor(const LossArgs<T>& a, int64_t size) {
  const double scale = a.sign * load_scale(a.scale, a.scale_dtype);
  return static_cast<compute_t<T>>(a.mean ? scale / static_cast<double>(size) : scale);
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

// That of the second tensor, the generated one, whose label is zero.
template <Kind kFirst>
constexpr Kind kSecond = kFirst == Kind::any_loss ? Kind::any_loss : Kind::label_zero;

template <Kind kKind, class T>
__device__ Range<T, kKind> own_range(const LossArgs<T>& a, bool is_first, compute_t<T> scale) {
  const auto& tensor = a.tensors[is_first ? 0 : 1];
  const int64_t start = (blockIdx.x - (is_first ? 0 : a.tensors[0].blocks)) * a.span;
  const int64_t stop = start + a.span < tensor.size ? start + a.span : tensor.size;
  return {{a.of, static_cast<compute_t<T>>(tensor.label)}, tensor.logits, tensor.output, start, stop, scale, a.aligned};
}

template <class T, Kind kFirst, bool kStats, bool kGrad>
__global__ void __launch_bounds__(kThreads) loss_kernel(const LossArgs<T> a) {
  using A = compute_t<T>;
  const bool is_first = blockIdx.x < a.tensors[0].blocks;
  const A scale = kGrad ? factor(a, a.tensors[is_first ? 0 : 1].size) : A(1);
  const Sums<A> sums =
      is_first ? sum_range<T, kFirst, kStats, kGrad>(own_range<kFirst>(a, true, scale))
               : sum_range<T, kSecond<kFirst>, kStats, kGrad>(own_range<kSecond<kFirst>>(a, false, scale));
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

// A term or, where kGrad, a slope, times scale.
template <class T, Kind kKind, bool kGrad>
__device__ T term_or_slope(const Terms<T, kKind>& terms, T logit, compute_t<T> scale) {
  using A = compute_t<T>;
  const A t = load(logit);
  const A e = terms.exponential(t);
  const AtLogit<A> here = terms.at(t, e);
  T result;
  store(&result, scale * (kGrad ? here.slope : terms.kLogarithm ? here.term + log1p_nonnegative(e) : here.term));
  return result;
}

template <class T, Kind kKind, bool kGrad>
__device__ void each_of_range(const Range<T, kKind>& r, const T* incoming) {
  constexpr int V = kVector<T>;
  int64_t at = r.start + static_cast<int64_t>(threadIdx.x) * V;
  for (; at + V <= r.stop; at += int64_t{kThreads} * V) {
    const auto logits = load_vector<T, V>(r.logits + at, r.aligned);
    Vector<T, V> result;
    if (incoming != nullptr) {
      const auto factors = load_vector<T, V>(incoming + at, r.aligned);
#pragma unroll
      for (int i = 0; i < V; ++i)
        result.at[i] = term_or_slope<T, kKind, kGrad>(r.terms, logits.at[i], r.scale * load(factors.at[i]));
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) result.at[i] = term_or_slope<T, kKind, kGrad>(r.terms, logits.at[i], r.scale);
    }
    store_vector<T, V>(r.grad + at, result, r.aligned);
  }
  for (; at < r.stop; at += int64_t{kThreads} * V)
    for (int64_t i = at; i < at + V && i < r.stop; ++i)
      r.grad[i] = term_or_slope<T, kKind, kGrad>(r.terms, r.logits[i],
                                                 incoming != nullptr ? r.scale * load(incoming[i]) : r.scale);
}

template <class T, Kind kFirst, bool kGrad>
__global__ void __launch_bounds__(kThreads) each_kernel(const LossArgs<T> a) {
  const bool is_first = blockIdx.x < a.tensors[0].blocks;
  const auto& tensor = a.tensors[is_first ? 0 : 1];
  const compute_t<T> scale = factor(a, tensor.size);
  if (is_first)
    each_of_range<T, kFirst, kGrad>(own_range<kFirst>(a, true, scale), tensor.incoming);
  else
    each_of_range<T, kSecond<kFirst>, kGrad>(own_range<kSecond<kFirst>>(a, false, scale), tensor.incoming);
}

template <class T>
LossArgs<T> arguments(const LossCall& call, int64_t least_span, int64_t most_ranges) {
  LossArgs<T> a{};
  a.of = call.loss;
  a.count = call.count;
  a.sign = call.sign;
  a.mean = call.mean;
  a.aligned = true;
  const int64_t largest = call.tensors[0].size > call.tensors[1].size ? call.tensors[0].size : call.tensors[1].size;
  a.span = ceil_div(ceil_div(largest, most_ranges), least_span) * least_span;
  if (a.span == 0) a.span = least_span;
  for (int i = 0; i < 2; ++i) {
    const LossTensor& from = call.tensors[i];
    a.tensors[i] = {static_cast<const T*>(from.logits), static_cast<const T*>(from.incoming),
                    static_cast<T*>(from.output), from.size, ceil_div(from.size, a.span), from.label};
    a.aligned = a.aligned && is_aligned(from.logits) && is_aligned(from.incoming) && is_aligned(from.output);
  }
  return a;
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

template <class T, bool kGrad>
cudaError_t each(const LossCall& call, const void* scale, DType scale_dtype) {
  LossArgs<T> a = arguments<T>(call, int64_t{4} * kThreads * kVector<T>, int64_t{1} << 30);
  a.scale = scale;
  a.scale_dtype = scale_dtype;
  const int64_t blocks = a.tensors[0].blocks + a.tensors[1].blocks;
  if (blocks == 0) return cudaSuccess;
  with_kind(call, [&](auto kind) { FASTGAN_LAUNCH((each_kernel<T, kind(), kGrad>), blocks, call.stream, a); });
  return cudaGetLastError();
}

}  // namespace

cudaError_t loss_forward(const LossCall& call, Workspace workspace, const void* scale, DType scale_dtype, void* loss,
                         DType loss_dtype, float* stats) {
  return with_type(call.dtype, [&](auto zero) {
    return forward<decltype(zero)>(call, workspace, scale, scale_dtype, loss, loss_dtype, stats);
  });
}

cudaError_t loss_terms(const LossCall& call) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), false>(call, nullptr, DType::f32); });
}

cudaError_t loss_backward(const LossCall& call, const void* scale, DType scale_dtype) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), true>(call, scale, scale_dtype); });
}

}  // namespace fastgan::cuda
