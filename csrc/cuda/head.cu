// A block takes a range of rows, some at a time: its warps make their logits and slopes; then its threads, each with
// columns of its own, add the rows up for the weight's gradient, from shared memory where the rows fit. The gradients of
// blocks are added up in two steps, by the last block of each group and by the last group: one alone would take long.
#include "head.h"

#include "parts.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr int kRowsOfWarp = 4;  // that it multiplies together
constexpr int kMostRows = 32;   // at a time
constexpr int kScalars = 4;     // sums of a block: terms, D's outputs, saturated logits, slopes

// How the rows of a call are cut up: from sizes alone, as sums must not depend on the machine.
struct Cut {
  int64_t span;    // rows of a block
  int rows;        // at a time; a power of two
  int64_t blocks;  // of all tensors; one where there are no rows, as they have a loss too
  int64_t group;   // blocks whose gradients one of them adds up
};

constexpr int64_t kMostRanges = kThreads;          // of a tensor
constexpr int64_t kEnoughRanges = kMostRanges / 4;  // to give most multiprocessors work

Cut cut_of(const HeadCall& call) {
  int64_t largest = 0;
  for (int i = 0; i < call.count; ++i) largest = call.tensors[i].rows > largest ? call.tensors[i].rows : largest;
  Cut cut{0, kRowsOfWarp, 0, 2};
  while (cut.rows < kMostRows && cut.rows * kEnoughRanges < largest) cut.rows *= 2;
  const int64_t turns = ceil_div(largest, cut.rows * kMostRanges);
  cut.span = (turns > 1 ? turns : 1) * cut.rows;
  for (int i = 0; i < call.count; ++i) cut.blocks += ceil_div(call.tensors[i].rows, cut.span);
  if (cut.blocks == 0) cut.blocks = 1;
  while (cut.group * cut.group < cut.blocks) cut.group *= 2;
  return cut;
}

template <class T>
struct HeadArgs {
  Parts parts;
  struct Tensor {
    const T* features;
    compute_t<T>* slopes;
    T* grad;
    compute_t<T> label;
  } tensors[kMostTensors];
  Loss loss;
  int64_t width, span;  // rows of a block
  int rows;             // of a block, at a time
  int64_t group;        // blocks that a group has
  bool aligned;
  bool is_staged;       // rows are kept in shared memory
  const T* weight;
  const T* bias;
  Scale scale;
  Result total, dw, db;
  DType compute_dtype;
  compute_t<T>* details;     // [2 count + 1]
  compute_t<T>* scalars;     // [kScalars, blocks]
  compute_t<T>* sums;        // [blocks, width]
  compute_t<T>* group_sums;  // [groups, width]
  unsigned* counters;        // [1 + groups]
};

// 16 bytes into shared memory, by name: nvcc breaks the structure into its parts.
template <class T, int V>
__device__ void store_shared(T* to, const Vector<T, V>& values) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof values == 16);
  uint4 word;
  memcpy(&word, &values, sizeof word);
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};"
               :
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(to))), "r"(word.x), "r"(word.y), "r"(word.z),
                 "r"(word.w)
               : "memory");
#else
  *reinterpret_cast<Vector<T, V>*>(to) = values;
#endif
}

// The products of kRowsOfWarp rows with the weight, by one warp, which takes every `parts`th piece of them, from piece
// `part` on; row 0 stands in for those from `count` on. A lane's loads of all rows are in flight together. The pieces
// are copied to `staged` (unless that is null).
template <class T, int V, bool kStaged>
__device__ void multiply_rows(const T* rows, int count, const T* weight, int64_t width, int part, int parts,
                              bool aligned, T* staged, compute_t<T> (&sums)[kRowsOfWarp]) {
  const T* row[kRowsOfWarp];
#pragma unroll
  for (int i = 0; i < kRowsOfWarp; ++i) {
    row[i] = rows + (i < count ? i : 0) * width;
    sums[i] = 0;
  }
  for (int64_t at = (part * 32 + static_cast<int>(threadIdx.x) % 32) * V; at < width; at += parts * 32 * V) {
    const auto w = load_vector<T, V>(weight + at, aligned);
    Vector<T, V> h[kRowsOfWarp];
#pragma unroll
    for (int i = 0; i < kRowsOfWarp; ++i) h[i] = load_vector<T, V>(row[i] + at, aligned);
#pragma unroll
    for (int i = 0; i < kRowsOfWarp; ++i) {
#pragma unroll
      for (int each = 0; each < V; ++each) sums[i] += load(h[i].at[each]) * load(w.at[each]);
      if constexpr (kStaged)
        if (i < count) store_shared<T, V>(staged + i * width + at, h[i]);
    }
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

// V sums, 16 bytes at a time where they are so many.
template <class A, int V>
constexpr int kSumsAtOnce = V % kVector<A> == 0 ? kVector<A> : 1;

template <class A, int V>
__device__ void load_sums(const A* from, A (&sums)[V]) {
  constexpr int W = kSumsAtOnce<A, V>;
#pragma unroll
  for (int i = 0; i < V; i += W) {
    const auto some = load_vector<A, W>(from + i, true);
#pragma unroll
    for (int each = 0; each < W; ++each) sums[i + each] = some.at[each];
  }
}

template <class A, int V>
__device__ void store_sums(A* to, const A (&sums)[V]) {
  constexpr int W = kSumsAtOnce<A, V>;
#pragma unroll
  for (int i = 0; i < V; i += W) {
    Vector<A, W> some;
#pragma unroll
    for (int each = 0; each < W; ++each) some.at[each] = sums[i + each];
    store_vector<A, W>(to + i, some, true);
  }
}

// sums[0 .. width) += the rows times their slopes.
template <class T, int V>
__device__ void add_rows(const HeadArgs<T>& a, const T* rows, T* grad, const compute_t<T>* slopes, int count,
                         compute_t<T>* sums, bool is_first, bool aligned) {
  using A = compute_t<T>;
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * V; at < a.width; at += int64_t{kThreads} * V) {
    A sum[V] = {}, w[V];
    if (!is_first) load_sums(sums + at, sum);  // this thread's own, from the rows before
    const auto weight = load_vector<T, V>(a.weight + at, aligned);
#pragma unroll
    for (int i = 0; i < V; ++i) w[i] = load(weight.at[i]);
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
    store_sums(sums + at, sum);
  }
}

// result [width], of a dtype, = the sum of `count` rows of sums, which lie at multiples of 16 bytes where kWide.
template <bool kWide, class A>
__device__ void add_up(const A* sums, int64_t count, int64_t width, void* result, DType dtype) {
  constexpr int W = kWide ? kVector<A> : 1;
  for (int64_t column = static_cast<int>(threadIdx.x) * W; column < width; column += kThreads * W) {
    A sum[W] = {};
#pragma unroll 8
    for (int64_t each = 0; each < count; ++each) {
      if constexpr (kWide) {
        const auto more = load_stored(sums + each * width + column);
#pragma unroll
        for (int i = 0; i < W; ++i) sum[i] += more.at[i];
      } else {
        sum[0] += __ldcg(sums + each * width + column);
      }
    }
#pragma unroll
    for (int i = 0; i < W; ++i)
      store_element(advance(result, column + i, dtype), dtype, static_cast<double>(sum[i]));
  }
}

template <class T>
__device__ void finish(const HeadArgs<T>& a, int64_t blocks) {
  using A = compute_t<T>;
  __shared__ PartSums<kScalars, A> sums;  // as in Seen
  const int pieces = add_up_parts(a.parts, a.scalars, blocks, sums);
  if (threadIdx.x != 0) return;
  write_loss(a.parts, sums, pieces, a.total, a.details);
  if (a.db.at == nullptr) return;
  A slopes = 0;
  for (int part = 0; part < a.parts.count; ++part) slopes += sums.of(part, 3, pieces);
  store_element(a.db.at, a.db.dtype, static_cast<double>(slopes));
}

// What a thread knows of its rows.
template <class A>
struct Seen {
  A loss = 0, output = 0, saturated = 0, slopes = 0;
};

// All of a logit under a label, its logarithm included. A row has one logit, so its loss may be chosen at run time.
template <class A>
__device__ AtLogit<A> at_logit(Loss loss, A t, A label) {
  return with_loss(loss, [&](auto functor) {
    using L = decltype(functor);
    const A e = L::kLogarithm ? exp_minus_abs_of<A>(t) : A(0);
    AtLogit<A> here = L::at(t, e, label);
    if (L::kLogarithm) here.term += log1p_nonnegative(e);
    return here;
  });
}

// The range of rows of a block. With few rows at a time, `parts` warps share the same rows, each with its pieces.
template <class T, int V, bool kStaged>
__device__ Seen<compute_t<T>> visit_rows(const HeadArgs<T>& a, bool aligned) {
  using A = compute_t<T>;
  __shared__ A products[kMostRows];  // [parts, rows]
  __shared__ A slopes[kMostRows];
  FASTGAN_DYNAMIC_SHARED(T, staged);  // [rows, width]
  const int which = part_of(a.parts, blockIdx.x);
  const auto& tensor = a.tensors[which];
  const int64_t start = (blockIdx.x - a.parts.blocks[which]) * a.span, size = a.parts.sizes[which];
  const int64_t stop = start + a.span < size ? start + a.span : size;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int parts = a.rows < kWarps * kRowsOfWarp ? kWarps * kRowsOfWarp / a.rows : 1;
  const A factor = static_cast<A>(a.parts.weights[which] * load_scale(a.scale));
  const A bias = a.bias == nullptr ? A(0) : load(*a.bias);
  Seen<A> seen;
  for (int64_t base = start; base < stop; base += a.rows) {
    const T* const rows = tensor.features + base * a.width;
    const int count = static_cast<int>(stop - base < a.rows ? stop - base : a.rows);
    for (int row = warp / parts * kRowsOfWarp; row < count; row += kWarps / parts * kRowsOfWarp) {
      A sums[kRowsOfWarp];
      multiply_rows<T, V, kStaged>(rows + row * a.width, count - row, a.weight, a.width, warp % parts, parts, aligned,
                                   kStaged ? staged + row * a.width : nullptr, sums);
      A of_lane = sums[0];
#pragma unroll
      for (int i = 1; i < kRowsOfWarp; ++i) of_lane = lane == i ? sums[i] : of_lane;
      if (lane < kRowsOfWarp && row + lane < count) products[warp % parts * a.rows + row + lane] = of_lane;
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < count) {
      const int row = threadIdx.x;
      A t = bias;  // logits are not rounded to a half type
      for (int part = 0; part < parts; ++part) t += products[part * a.rows + row];
      const AtLogit<A> here = at_logit(a.loss, t, tensor.label);
      const A slope = factor * here.slope;
      seen.loss += here.term;
      seen.output += here.output;
      seen.saturated += here.saturated;
      seen.slopes += slope;
      slopes[row] = slope;
      if (tensor.slopes != nullptr) tensor.slopes[base + row] = slope;
    }
    __syncthreads();
    if (a.dw.at != nullptr)
      add_rows<T, V>(a, kStaged ? staged : rows, tensor.grad == nullptr ? nullptr : tensor.grad + base * a.width, slopes,
                     count, a.sums + blockIdx.x * a.width, base == start, aligned);
    __syncthreads();  // before the next rows
  }
  return seen;
}

template <class T, int V>
__device__ Seen<compute_t<T>> visit_rows_as_they_lie(const HeadArgs<T>& a) {
  if constexpr (V > 1)
    if (a.is_staged) return visit_rows<T, V, true>(a, true);
  return a.aligned ? visit_rows<T, V, false>(a, true) : visit_rows<T, V, false>(a, false);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads, 2) head_kernel(const __grid_constant__ HeadArgs<T> a) {
  using A = compute_t<T>;
  const Seen<A> seen = visit_rows_as_they_lie<T, V>(a);
  const int64_t blocks = gridDim.x, group = blockIdx.x / a.group;
  A of_block[kScalars] = {seen.loss, seen.output, seen.saturated, seen.slopes};
  block_sums(of_block);
#pragma unroll
  for (int i = 0; i < kScalars; ++i)
    if (threadIdx.x == 0) a.scalars[i * blocks + blockIdx.x] = of_block[i];
  const int64_t members = blocks - group * a.group < a.group ? blocks - group * a.group : a.group;
  if (!is_last_of(static_cast<unsigned>(members), a.counters + 1 + group)) return;
  if (a.dw.at != nullptr) {
    const int64_t used = a.parts.blocks[a.parts.count];  // none, where there are no rows at all
    const int64_t there = used - group * a.group < members ? used - group * a.group : members;
    add_up<(V > 1)>(a.sums + group * a.group * a.width, there, a.width, a.group_sums + group * a.width,
                    a.compute_dtype);
  }
  const int64_t groups = (blocks + a.group - 1) / a.group;
  if (!is_last_of(static_cast<unsigned>(groups), a.counters)) return;
  if (a.dw.at != nullptr) add_up<(V > 1)>(a.group_sums, groups, a.width, a.dw.at, a.dw.dtype);
  finish(a, blocks);
}

constexpr int64_t kRowsOfGrad = 8;  // of a block

template <class T, int V>
__global__ void __launch_bounds__(kThreads) grad_kernel(const __grid_constant__ HeadArgs<T> a) {
  using A = compute_t<T>;
  const auto& tensor = a.tensors[0];
  const A factor = static_cast<A>(load_scale(a.scale));
  const int64_t start = blockIdx.x * a.span, rows = a.parts.sizes[0];
  const int64_t stop = start + a.span < rows ? start + a.span : rows;
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
HeadArgs<T> arguments(const HeadCall& call, int64_t span) {
  HeadArgs<T> a{};
  a.loss = call.loss;
  a.width = call.width;
  a.span = span;
  a.weight = static_cast<const T*>(call.weight);
  a.bias = static_cast<const T*>(call.bias);
  a.scale = call.scale;
  a.aligned = is_aligned(call.weight);
  for (int i = 0; i < call.count; ++i) {
    const HeadTensor& from = call.tensors[i];
    a.parts.add(from.rows, from.weight, span);
    a.tensors[i] = {static_cast<const T*>(from.features), static_cast<compute_t<T>*>(from.slopes),
                    static_cast<T*>(from.grad), static_cast<compute_t<T>>(from.label)};
    a.aligned = a.aligned && is_aligned(from.features) && is_aligned(from.grad);
  }
  return a;
}

// Blocks that keep several rows after each other in shared memory must leave room for a second one on the
// multiprocessor, which reads while the first adds up; one with a single turn may fill it.
constexpr int64_t kSharedOfMany = 80 * 1024;

// Shared memory for a block's rows; none where they do not fit, or are not read twice.
int64_t staged_bytes(const HeadCall& call, const Cut& cut, bool with_dw) {
  const int64_t bytes = cut.rows * call.width * bytes_of(call.dtype), most = most_shared_bytes();
  const bool fits = bytes <= most && (cut.span == cut.rows || bytes <= kSharedOfMany);
  return with_dw && fits ? bytes : 0;
}

}  // namespace

HeadWorkspace head_workspace(const HeadCall& call) {
  const Cut cut = cut_of(call);
  const int64_t groups = ceil_div(cut.blocks, cut.group);
  return {kScalars * cut.blocks + (cut.blocks + groups) * call.width, 1 + groups};
}

cudaError_t head_loss(const HeadCall& call, Workspace workspace, Result total, void* details, Result dw, Result db) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Cut cut = cut_of(call);
    HeadArgs<T> a = arguments<T>(call, cut.span);
    a.rows = cut.rows;
    a.group = cut.group;
    a.total = total;
    a.dw = dw;
    a.db = db;
    a.compute_dtype = compute_type(call.dtype);
    a.details = static_cast<compute_t<T>*>(details);
    a.scalars = static_cast<compute_t<T>*>(workspace.partials);
    a.sums = a.scalars + kScalars * cut.blocks;
    a.group_sums = a.sums + cut.blocks * call.width;
    a.counters = workspace.counters;
    const bool in_vectors = call.width % kVector<T> == 0;
    const int64_t shared = in_vectors && a.aligned ? staged_bytes(call, cut, dw.at != nullptr) : 0;
    a.is_staged = shared > 0;
    if (in_vectors)
      FASTGAN_LAUNCH_WITH_SHARED((head_kernel<T, kVector<T>>), cut.blocks, shared, call.where, a);
    else
      FASTGAN_LAUNCH((head_kernel<T, 1>), cut.blocks, call.where, a);
    return cudaGetLastError();
  });
}

cudaError_t head_grad(const HeadCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const HeadArgs<T> a = arguments<T>(call, kRowsOfGrad);
    const int64_t blocks = a.parts.all_blocks();
    if (blocks == 0) return cudaSuccess;
    if (call.width % kVector<T> == 0)
      FASTGAN_LAUNCH((grad_kernel<T, kVector<T>>), blocks, call.where, a);
    else
      FASTGAN_LAUNCH((grad_kernel<T, 1>), blocks, call.where, a);
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
