// A block takes a range of rows, a few at a time: its warps make their logits and slopes; then its threads, each with
// columns of its own, add the rows up for the weight's gradient while they lie in cache. The gradients of blocks are
// added up in two steps, by the last block of each group and by the last group: one alone would take long.
#include "head.h"

#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kRowsAtATime = 32;
constexpr int kRowsOfWarp = 4;  // that it multiplies together
constexpr int kGroup = 16;
constexpr int kScalars = 4;  // sums of a block: losses, sigmoids, saturations, slopes

template <class T>
struct HeadArgs {
  struct Tensor {
    const T* features;
    compute_t<T>* slopes;
    T* grad;
    int64_t rows, blocks;
    double label;
  } tensors[2];
  int count;
  int64_t width, span;  // rows of a block
  bool aligned;
  const T* weight;
  const T* bias;
  double sign;
  bool mean;
  const void* scale;
  DType scale_dtype;
  void* loss;
  DType loss_dtype;
  float* stats;
  void *dw, *db;
  DType grads_dtype, compute_dtype;
  compute_t<T>* scalars;     // [kScalars, blocks]
  compute_t<T>* sums;        // [blocks, width]
  compute_t<T>* group_sums;  // [groups, width]
  unsigned* counters;        // [1 + groups]
};

// The products of kRowsOfWarp rows with the weight, by one warp; row 0 stands in for those from `count` on. A lane's
// loads of all rows are in flight together.
template <class T, int V>
__device__ void multiply_rows(const T* rows, int count, const T* weight, int64_t width, bool aligned,
                              compute_t<T> (&sums)[kRowsOfWarp]) {
  const T* row[kRowsOfWarp];
#pragma unroll
  for (int i = 0; i < kRowsOfWarp; ++i) {
    row[i] = rows + (i < count ? i : 0) * width;
    sums[i] = 0;
  }
  for (int64_t at = static_cast<int64_t>(threadIdx.x % 32) * V; at < width; at += 32 * V) {
    const auto w = load_vector<T, V>(weight + at, aligned);
    Vector<T, V> h[kRowsOfWarp];
#pragma unroll
    for (int i = 0; i < kRowsOfWarp; ++i) h[i] = load_vector<T, V>(row[i] + at, aligned);
#pragma unroll
    for (int i = 0; i < kRowsOfWarp; ++i)
#pragma unroll
      for (int each = 0; each < V; ++each) sums[i] += load(h[i].at[each]) * load(w.at[each]);
  }
#pragma unroll
  for (int i = 0; i < kRowsOfWarp; ++i)
    for (int step = 16; step > 0; step /= 2) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], step);
}

// sum += the rows' columns times their slopes, and, on request, the rows' own gradients: kCount rows, all loaded before
// the first gradient is stored, which the compiler would not do, as it may overwrite features for all it knows.
template <int kCount, class T, int V>
__device__ void add_columns(const T* rows, T* grad, int64_t width, const compute_t<T>* slopes,
                            const compute_t<T> (&w)[V], compute_t<T> (&sum)[V], bool aligned) {
  Vector<T, V> h[kCount];
#pragma unroll
  for (int row = 0; row < kCount; ++row) h[row] = load_vector<T, V>(rows + row * width, aligned);
#pragma unroll
  for (int row = 0; row < kCount; ++row) {
    const compute_t<T> slope = slopes[row];
    Vector<T, V> g;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      sum[i] += slope * load(h[row].at[i]);
      store(&g.at[i], slope * w[i]);
    }
    if (grad != nullptr) store_vector<T, V>(grad + row * width, g, aligned);
  }
}

// sums[0 .. width) += the rows times their slopes.
template <class T, int V>
__device__ void add_rows(const HeadArgs<T>& a, const T* rows, T* grad, const compute_t<T>* slopes, int count,
                         compute_t<T>* sums, bool is_first, bool aligned) {
  using A = compute_t<T>;
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * V; at < a.width; at += int64_t{kThreads} * V) {
    A sum[V], w[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      sum[i] = is_first ? A(0) : sums[at + i];  // this thread's own, from the rows before
      w[i] = load(a.weight[at + i]);
    }
    const T* from = rows + at;
    T* to = grad == nullptr ? nullptr : grad + at;
    int row = 0;
#pragma unroll 1
    for (; row + 4 <= count; row += 4) {
      add_columns<4>(from, to, a.width, slopes + row, w, sum, aligned);
      from += 4 * a.width;
      if (to != nullptr) to += 4 * a.width;
    }
#pragma unroll 1
    for (; row < count; ++row) {
      add_columns<1>(from, to, a.width, slopes + row, w, sum, aligned);
      from += a.width;
      if (to != nullptr) to += a.width;
    }
#pragma unroll
    for (int i = 0; i < V; ++i) sums[at + i] = sum[i];
  }
}

// result [width], of a dtype, = the sum of `count` rows of sums.
template <class A>
__device__ void add_up(const A* sums, int64_t count, int64_t width, void* result, DType dtype) {
  for (int64_t column = threadIdx.x; column < width; column += kThreads) {
    A sum = 0;
#pragma unroll 8
    for (int64_t each = 0; each < count; ++each) sum += __ldcg(sums + each * width + column);
    store_element(advance(result, column, dtype), dtype, static_cast<double>(sum));
  }
}

template <class T>
__device__ void finish(const HeadArgs<T>& a, int64_t blocks) {
  using A = compute_t<T>;
  A total = 0, saturated = 0, slopes = 0;
  int64_t rows = 0;
  for (int which = 0; which < a.count; ++which) {
    const int64_t first = which == 0 ? 0 : a.tensors[0].blocks;
    A sums[kScalars];  // as in Seen
    sums_in_order(a.scalars + first, blocks, a.tensors[which].blocks, sums);
    const A size = static_cast<A>(a.tensors[which].rows);
    rows += a.tensors[which].rows;
    total += a.mean ? sums[0] / size : sums[0];  // the mean of nothing is nan, as in PyTorch
    saturated += sums[2];
    slopes += sums[3];
    if (threadIdx.x == 0 && a.stats != nullptr) a.stats[which] = static_cast<float>(sums[1] / size);
  }
  if (threadIdx.x != 0) return;
  store_element(a.loss, a.loss_dtype, static_cast<double>(static_cast<A>(a.sign) * total));
  if (a.stats != nullptr) a.stats[a.count] = static_cast<float>(saturated / static_cast<A>(rows));
  if (a.db != nullptr) store_element(a.db, a.grads_dtype, static_cast<double>(slopes));
}

// What a thread knows of the rows of its warp.
template <class A>
struct Seen {
  A loss = 0, sigmoids = 0, saturations = 0, slopes = 0;
};

// The range of rows of a block.
template <class T, int V>
__device__ Seen<compute_t<T>> visit_rows(const HeadArgs<T>& a, bool aligned) {
  using A = compute_t<T>;
  __shared__ A slopes[kRowsAtATime];
  const bool is_first = blockIdx.x < a.tensors[0].blocks;
  const auto& tensor = a.tensors[is_first ? 0 : 1];
  const int64_t start = (blockIdx.x - (is_first ? 0 : a.tensors[0].blocks)) * a.span;
  const int64_t stop = start + a.span < tensor.rows ? start + a.span : tensor.rows;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const double scale = a.sign * load_scale(a.scale, a.scale_dtype);
  const A factor = static_cast<A>(a.mean ? scale / static_cast<double>(tensor.rows) : scale);
  const A label = static_cast<A>(tensor.label), bias = a.bias == nullptr ? A(0) : load(*a.bias);
  Seen<A> seen;
  for (int64_t base = start; base < stop; base += kRowsAtATime) {
    const int count = static_cast<int>(stop - base < kRowsAtATime ? stop - base : kRowsAtATime);
    for (int row = warp * kRowsOfWarp; row < count; row += kThreads / 32 * kRowsOfWarp) {
      A products[kRowsOfWarp];
      multiply_rows<T, V>(tensor.features + (base + row) * a.width, count - row, a.weight, a.width, aligned, products);
      A t = products[0];  // that of this lane's row
#pragma unroll
      for (int i = 1; i < kRowsOfWarp; ++i) t = lane == i ? products[i] : t;
      if (lane < kRowsOfWarp && row + lane < count) {
        t += bias;
        const A e = exp_minus_abs_of<A>(t);  // logits are not rounded to a half type
        const A slope = factor * loss_slope(t, e, label);
        seen.loss += linear_part(t, label) + log1p_nonnegative(e);
        seen.sigmoids += sigmoid(t, e);
        seen.saturations += absolute(t) > A(kSaturatedLogit) ? A(1) : A(0);
        seen.slopes += slope;
        slopes[row + lane] = slope;
        if (tensor.slopes != nullptr) tensor.slopes[base + row + lane] = slope;
      }
    }
    __syncthreads();
    if (a.dw != nullptr)
      add_rows<T, V>(a, tensor.features + base * a.width, tensor.grad == nullptr ? nullptr : tensor.grad + base * a.width,
                     slopes, count, a.sums + blockIdx.x * a.width, base == start, aligned);
    __syncthreads();  // before the next rows' slopes
  }
  return seen;
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads, 2) head_kernel(const HeadArgs<T> a) {
  using A = compute_t<T>;
  const Seen<A> seen = a.aligned ? visit_rows<T, V>(a, true) : visit_rows<T, V>(a, false);
  const int64_t blocks = gridDim.x, group = blockIdx.x / kGroup;
  A of_block[kScalars] = {seen.loss, seen.sigmoids, seen.saturations, seen.slopes};
  block_sums(of_block);
#pragma unroll
  for (int i = 0; i < kScalars; ++i)
    if (threadIdx.x == 0) a.scalars[i * blocks + blockIdx.x] = of_block[i];
  const int64_t members = blocks - group * kGroup < kGroup ? blocks - group * kGroup : kGroup;
  if (!is_last_of(static_cast<unsigned>(members), a.counters + 1 + group)) return;
  const int64_t used = a.tensors[0].blocks + a.tensors[1].blocks;  // none, where there are no rows at all
  if (a.dw != nullptr) {
    const int64_t there = used - group * kGroup < members ? used - group * kGroup : members;
    add_up(a.sums + group * kGroup * a.width, there, a.width, a.group_sums + group * a.width, a.compute_dtype);
  }
  const int64_t groups = (blocks + kGroup - 1) / kGroup;
  if (!is_last_of(static_cast<unsigned>(groups), a.counters)) return;
  if (a.dw != nullptr)
    add_up(a.group_sums, groups, a.width, a.dw, a.grads_dtype);
  finish(a, blocks);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) grad_kernel(const HeadArgs<T> a) {
  using A = compute_t<T>;
  const auto& tensor = a.tensors[0];
  const A factor = static_cast<A>(load_element(a.scale, a.scale_dtype));
  const int64_t start = blockIdx.x * a.span, stop = start + a.span < tensor.rows ? start + a.span : tensor.rows;
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * V; at < a.width; at += int64_t{kThreads} * V) {
    A w[V];
#pragma unroll
    for (int i = 0; i < V; ++i) w[i] = factor * load(a.weight[at + i]);
#pragma unroll 4
    for (int64_t row = start; row < stop; ++row) {
      const A slope = tensor.slopes[row];
      Vector<T, V> g;
#pragma unroll
      for (int i = 0; i < V; ++i) store(&g.at[i], slope * w[i]);
      store_vector<T, V>(tensor.grad + row * a.width + at, g, a.aligned);
    }
  }
}

template <class T>
HeadArgs<T> arguments(const HeadCall& call, int64_t least_span, int64_t most_ranges) {
  HeadArgs<T> a{};
  a.count = call.count;
  a.width = call.width;
  a.weight = static_cast<const T*>(call.weight);
  a.bias = static_cast<const T*>(call.bias);
  a.sign = call.sign;
  a.mean = call.mean;
  a.aligned = is_aligned(call.weight);
  const int64_t largest = call.tensors[0].rows > call.tensors[1].rows ? call.tensors[0].rows : call.tensors[1].rows;
  a.span = ceil_div(ceil_div(largest, most_ranges), least_span) * least_span;
  if (a.span == 0) a.span = least_span;
  for (int i = 0; i < 2; ++i) {
    const HeadTensor& from = call.tensors[i];
    a.tensors[i] = {static_cast<const T*>(from.features), static_cast<compute_t<T>*>(from.slopes),
                    static_cast<T*>(from.grad), from.rows, ceil_div(from.rows, a.span), from.label};
    a.aligned = a.aligned && is_aligned(from.features) && is_aligned(from.grad);
  }
  return a;
}

constexpr int64_t kMostRanges = kMaxRanges / 4;  // of a tensor

int64_t blocks_of(const HeadCall& call) {
  const auto a = arguments<float>(call, kRowsAtATime, kMostRanges);
  const int64_t blocks = a.tensors[0].blocks + a.tensors[1].blocks;
  return blocks > 0 ? blocks : 1;  // no rows have a loss too
}

}  // namespace

HeadWorkspace head_workspace(const HeadCall& call) {
  const int64_t blocks = blocks_of(call), groups = ceil_div(blocks, kGroup);
  return {kScalars * blocks + (blocks + groups) * call.width, 1 + groups};
}

cudaError_t head_loss(const HeadCall& call, void* sums, unsigned* counters, const void* scale, DType scale_dtype,
                      void* loss, DType loss_dtype, float* stats, void* dw, void* db, DType grads_dtype) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    HeadArgs<T> a = arguments<T>(call, kRowsAtATime, kMostRanges);
    const int64_t blocks = blocks_of(call);
    a.scale = scale;
    a.scale_dtype = scale_dtype;
    a.loss = loss;
    a.loss_dtype = loss_dtype;
    a.stats = stats;
    a.dw = dw;
    a.db = db;
    a.grads_dtype = grads_dtype;
    a.compute_dtype = call.dtype == DType::f64 ? DType::f64 : DType::f32;
    a.scalars = static_cast<compute_t<T>*>(sums);
    a.sums = a.scalars + kScalars * blocks;
    a.group_sums = a.sums + blocks * call.width;
    a.counters = counters;
    if (call.width % kVector<T> == 0)
      FASTGAN_LAUNCH((head_kernel<T, kVector<T>>), blocks, call.stream, a);
    else
      FASTGAN_LAUNCH((head_kernel<T, 1>), blocks, call.stream, a);
    return cudaGetLastError();
  });
}

cudaError_t head_grad(const HeadCall& call, const void* scale, DType scale_dtype) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    HeadArgs<T> a = arguments<T>(call, 8, int64_t{1} << 30);
    a.scale = scale;
    a.scale_dtype = scale_dtype;
    if (a.tensors[0].blocks == 0) return cudaSuccess;
    if (call.width % kVector<T> == 0)
      FASTGAN_LAUNCH((grad_kernel<T, kVector<T>>), a.tensors[0].blocks, call.stream, a);
    else
      FASTGAN_LAUNCH((grad_kernel<T, 1>), a.tensors[0].blocks, call.stream, a);
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
