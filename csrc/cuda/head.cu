// A block processes a range of rows, a few at a time. First its warps compute their logits and slopes. Then each of its
// threads sums slope * row over its own columns, for the weight's gradient; rows come from shared memory if they fit.
// The sums of blocks are added up in two steps, by the last block of each group and by the last group: a single block
// would take too long.
#include "head.h"

#include "parts.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr int kRowsOfWarp = 4;      // rows that a warp multiplies by the weight at a time
constexpr int kMaxRowsAtOnce = 32;  // rows that a block processes at a time
constexpr int kScalars = 4;         // sums of a block: terms, D's outputs, saturated logits, slopes

// How the rows of a call are split. Depends only on sizes, so that sums do not depend on the GPU.
struct Cut {
  int64_t span;    // rows per block
  int rows;        // rows at a time, a power of two
  int64_t blocks;  // blocks in all, at least one, as empty tensors have a loss too
  int64_t group;   // blocks per group
};

constexpr int64_t kMaxRangesOfTensor = kThreads;
constexpr int64_t kEnoughRanges = kMaxRangesOfTensor / 4;  // enough to occupy most multiprocessors

Cut cut_of(const HeadCall& call) {
  int64_t largest = 0;
  for (int i = 0; i < call.count; ++i) largest = call.tensors[i].rows > largest ? call.tensors[i].rows : largest;
  Cut cut{0, kRowsOfWarp, 0, 2};
  while (cut.rows < kMaxRowsAtOnce && cut.rows * kEnoughRanges < largest) cut.rows *= 2;
  const int64_t turns = ceil_div(largest, cut.rows * kMaxRangesOfTensor);
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
  int64_t width;
  int64_t span;    // rows per block
  int rows;        // rows at a time
  int64_t group;   // blocks per group
  bool aligned;    // all addresses are multiples of 16 bytes
  bool is_staged;  // rows are kept in shared memory
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

// Stores 16 bytes to shared memory in one instruction; nvcc would store the structure's elements one by one.
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

// Products of kRowsOfWarp rows with the weight, by one of `parts` warps that share the rows: pieces part, part + parts,
// ... of each row. Rows past `count` repeat row 0, so that a lane's loads of all rows are in flight together. If
// kStaged, the pieces are also copied to `staged`.
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

// sum += slope * row over kCount rows; grad = slope * w for each row, unless null. All rows are loaded before the first
// store: the compiler cannot move loads above stores, as grad might overlap the features.
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

// V sums are moved 16 bytes at a time if V allows.
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

// sums [width] += slope * row over `count` rows; is_first starts from zero. Also stores the rows' gradients.
template <class T, int V>
__device__ void add_rows(const HeadArgs<T>& a, const T* rows, T* grad, const compute_t<T>* slopes, int count,
                         compute_t<T>* sums, bool is_first, bool aligned) {
  using A = compute_t<T>;
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * V; at < a.width; at += int64_t{kThreads} * V) {
    A sum[V] = {}, w[V];
    if (!is_first) load_sums(sums + at, sum);  // stored by this thread, so no barrier
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

// result [width] = the sum over the rows of sums [count, width]. kWide: rows start at multiples of 16 bytes.
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
  __shared__ PartSums<kScalars, A> sums;  // in the order of Seen
  const int pieces = add_up_parts(a.parts, a.scalars, blocks, sums);
  if (threadIdx.x != 0) return;
  write_loss(a.parts, sums, pieces, a.total, a.details);
  if (a.db.at == nullptr) return;
  A slopes = 0;
  for (int part = 0; part < a.parts.count; ++part) slopes += sums.of(part, 3, pieces);
  store_element(a.db.at, a.db.dtype, static_cast<double>(slopes));
}

// A thread's sums over its rows.
template <class A>
struct Seen {
  A loss = 0, output = 0, saturated = 0, slopes = 0;
};

// The loss at a logit, its logarithm included. There is one logit per row, so a run-time branch on the loss is cheap.
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

// Processes a block's range of rows. If it has few rows at a time, `parts` warps share each row.
template <class T, int V, bool kStaged>
__device__ Seen<compute_t<T>> visit_rows(const HeadArgs<T>& a, bool aligned) {
  using A = compute_t<T>;
  __shared__ A products[kMaxRowsAtOnce];  // [parts, rows]
  __shared__ A slopes[kMaxRowsAtOnce];
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
      A t = bias;  // not rounded to T
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
    __syncthreads();  // the next rows overwrite slopes and staged
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
    const int64_t used = a.parts.blocks[a.parts.count];  // 0 if there are no rows
    const int64_t there = used - group * a.group < members ? used - group * a.group : members;
    add_up<(V > 1)>(a.sums + group * a.group * a.width, there, a.width, a.group_sums + group * a.width,
                    a.compute_dtype);
  }
  const int64_t groups = (blocks + a.group - 1) / a.group;
  if (!is_last_of(static_cast<unsigned>(groups), a.counters)) return;
  if (a.dw.at != nullptr) add_up<(V > 1)>(a.group_sums, groups, a.width, a.dw.at, a.dw.dtype);
  finish(a, blocks);
}

constexpr int64_t kGradRowsPerBlock = 8;

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

// Limit for blocks with several turns: two of them must fit on a multiprocessor, so that one loads while the other adds
// up. A block with a single turn may use all of the shared memory.
constexpr int64_t kMaxSharedOfManyTurns = 80 * 1024;

// Bytes of shared memory for a block's rows; 0 if they do not fit or are read only once.
int64_t staged_bytes(const HeadCall& call, const Cut& cut, bool with_dw) {
  const int64_t bytes = cut.rows * call.width * bytes_of(call.dtype), most = most_shared_bytes();
  const bool fits = bytes <= most && (cut.span == cut.rows || bytes <= kMaxSharedOfManyTurns);
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
    const HeadArgs<T> a = arguments<T>(call, kGradRowsPerBlock);
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
