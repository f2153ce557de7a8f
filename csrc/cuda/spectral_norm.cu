// A power iteration is two launches for all weights: products of rows, W v, and of columns, W^T u. A block multiplies
// some rows over a range of columns, or a stripe of columns over a range of rows. The last block to finish for a weight
// adds up the ranges, in order, and normalizes the product; sigma is the inner product of both. Ranges depend only on
// sizes.
#include "spectral_norm.h"

#include "parts.cuh"
#include "stripes.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr int kRows = 8;                      // rows of a block that multiplies rows
constexpr int kAcross = 8;                    // threads along a row of a stripe: a cache line
constexpr int kDown = kThreads / kAcross;     // rows of a stripe at a time
constexpr int kMinSteps = 4;                  // least iterations of a thread over its range
constexpr int64_t kMostBlocksOfWeight = 512;  // or one for each stripe or group of rows, if those are more

template <class T>
constexpr int kStripe = kAcross * kVector<T>;

template <class T>
struct SpectralArgs {
  BlocksOf<kMostWeights> parts;
  struct Weight {
    const T* w;     // [rows, columns]
    const T* grad;  // [rows, columns]: of W / sigma; null in the forward pass
    T* result;      // [rows, columns]: W / sigma, or the gradient of W
    T *u, *v;       // [rows], [columns]
    int64_t rows, columns;
    int64_t groups;  // stripes, or groups of kRows rows
    int64_t span;    // rows or columns in a block's range
  } weights[kMostWeights];
  uint32_t unaligned;      // bit i: not every row of weight i starts at a multiple of 16 bytes
  bool normalizes;         // the product replaces u or v
  compute_t<T> eps;        // the least norm by which it is divided
  compute_t<T>* sigma;     // [weights], or null if the product does not give it
  compute_t<T>* partials;  // [blocks, kRows], [blocks, kStripe] or [blocks]: what each block has summed
  unsigned* counters;      // [weights]
};
static_assert(sizeof(SpectralArgs<double>) <= 4096, "the most that a launch takes");
static_assert(kMostWeights <= 32, "one bit each");

// What a block has of a weight: a group of rows or columns, and a range of the others.
template <class T>
struct Share {
  int which;                   // weight
  int64_t group, start, stop;  // start, stop: of the range
  bool aligned;
};

template <class T>
__device__ Share<T> share_of(const SpectralArgs<T>& a, bool is_of_rows) {
  const int which = part_of(a.parts, blockIdx.x);
  const auto& weight = a.weights[which];
  const int64_t block = blockIdx.x - a.parts.blocks[which], start = block / weight.groups * weight.span;
  const int64_t end = is_of_rows ? weight.columns : weight.rows;
  return {which, block % weight.groups, start, start + weight.span < end ? start + weight.span : end,
          (a.unaligned >> which & 1) == 0};
}

// The V elements from `from` on, of which `left` are inside the row; zeros for the others.
template <bool kAligned, class T>
__device__ Vector<T, kVector<T>> load_columns(const T* from, int64_t left) {
  constexpr int V = kVector<T>;
  if constexpr (kAligned) {
    return load_vector<T, V>(from, true);
  } else {
    Vector<T, V> result{};
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (i < left) result.at[i] = from[i];
    return result;
  }
}

template <bool kAligned, class T>
__device__ void store_columns(T* to, const Vector<T, kVector<T>>& values, int64_t left) {
  constexpr int V = kVector<T>;
  if constexpr (kAligned) {
    store_vector<T, V>(to, values, true);
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (i < left) to[i] = values.at[i];
  }
}

// Adds up a weight's product, of `size` elements, from the sums of its blocks: [ranges, groups, of_group]. Replaces
// `vector` by the normalized product, if wanted, and writes their inner product. Called by the last block.
template <class T>
__device__ void finish(const SpectralArgs<T>& a, int which, int of_group, T* vector, int64_t size) {
  using A = compute_t<T>;
  constexpr int W = kVector<A>;
  __shared__ A norm;
  const int64_t first = a.parts.blocks[which], padded = a.weights[which].groups * of_group;
  const int64_t end = a.parts.blocks[which + 1] * of_group;
  A* const product = a.partials + first * of_group;
  const int64_t at_first = static_cast<int>(threadIdx.x) * W, apart = kThreads * W;
  A squares = 0;
  for (int64_t at = at_first; at < padded; at += apart) {
    Vector<A, W> sum{};
#pragma unroll 4
    for (int64_t here = first * of_group + at; here < end; here += padded) {
      const auto part = load_stored(a.partials + here);
#pragma unroll
      for (int i = 0; i < W; ++i) sum.at[i] += part.at[i];
    }
#pragma unroll
    for (int i = 0; i < W; ++i) squares += sum.at[i] * sum.at[i];
    store_vector<A, W>(product + at, sum, true);  // read below by the same thread
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) norm = root(squares) < a.eps ? a.eps : root(squares);  // nan stays nan
  __syncthreads();
  A sigma = 0;
  for (int64_t at = at_first; at < size; at += apart) {
    const auto sum = load_stored(product + at);
#pragma unroll
    for (int i = 0; i < W; ++i) {
      if (at + i >= size) continue;
      T here;
      if (a.normalizes) {
        store(&here, sum.at[i] / norm);
        vector[at + i] = here;
      } else {
        here = vector[at + i];
      }
      sigma += sum.at[i] * load(here);
    }
  }
  if (a.sigma == nullptr) return;
  sigma = block_sum(sigma);
  if (threadIdx.x == 0) a.sigma[which] = sigma;
}

// A thread's share of the product of a row and v, from `start` to `stop`. The threads of a warp share it.
template <bool kAligned, class T>
__device__ compute_t<T> multiply_row(const T* row, const T* v, int64_t start, int64_t stop) {
  constexpr int V = kVector<T>;
  compute_t<T> sum = 0;
#pragma unroll(kAligned ? kMinSteps : 1)
  for (int64_t at = start + static_cast<int>(threadIdx.x) % 32 * V; at < stop; at += 32 * V) {
    const auto x = load_columns<kAligned>(row + at, stop - at), y = load_columns<kAligned>(v + at, stop - at);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += load(x.at[i]) * load(y.at[i]);
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) multiply_rows_kernel(const __grid_constant__ SpectralArgs<T> a) {
  const Share<T> share = share_of(a, true);
  const auto& weight = a.weights[share.which];
  for (int each = static_cast<int>(threadIdx.x) / 32; each < kRows; each += kWarps) {
    const int64_t row = share.group * kRows + each;
    const T* const from = weight.w + row * weight.columns;
    compute_t<T> sum = 0;
    if (row < weight.rows)
      sum = share.aligned ? multiply_row<true>(from, weight.v, share.start, share.stop)
                          : multiply_row<false>(from, weight.v, share.start, share.stop);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) a.partials[int64_t{blockIdx.x} * kRows + each] = sum;
  }
  const int64_t blocks = a.parts.blocks[share.which + 1] - a.parts.blocks[share.which];
  if (!is_last_of(static_cast<unsigned>(blocks), a.counters + share.which)) return;
  finish(a, share.which, kRows, weight.u, weight.rows);
}

// A thread's first column in a block's stripe, and the number of columns from there on: none if not positive.
template <class T>
struct Columns {
  int64_t first, left;
};

template <class T>
__device__ Columns<T> columns_of(const SpectralArgs<T>& a, const Share<T>& share) {
  const int64_t first = share.group * kStripe<T> + static_cast<int>(threadIdx.x) % kAcross * kVector<T>;
  return {first, a.weights[share.which].columns - first};
}

// Calls work(count, aligned, row) for a thread's rows in its block's stripe, two at a time.
template <class T, class Work>
__device__ void for_rows(const Share<T>& share, const Columns<T>& columns, const Work& work) {
  if (columns.left > 0)
    in_pairs(share.start + static_cast<int>(threadIdx.x) / kAcross, share.stop, kDown, share.aligned, work);
}

template <class T>
__global__ void __launch_bounds__(kThreads) multiply_columns_kernel(const __grid_constant__ SpectralArgs<T> a) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>;
  const Share<T> share = share_of(a, false);
  const Columns<T> columns = columns_of(a, share);
  const auto& weight = a.weights[share.which];
  A sums[V] = {};
  for_rows(share, columns, [&](auto count, auto aligned, int64_t row) {
    constexpr int kCount = decltype(count)::value;
    Vector<T, V> values[kCount];
    A factors[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T* const from = weight.w + (row + i * kDown) * weight.columns + columns.first;
      values[i] = load_columns<decltype(aligned)::value>(from, columns.left);
      factors[i] = load(weight.u[row + i * kDown]);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i)
#pragma unroll
      for (int each = 0; each < V; ++each) sums[each] += factors[i] * load(values[i].at[each]);
  });
  add_down(sums, kAcross);
  if (threadIdx.x < kAcross) {
#pragma unroll
    for (int i = 0; i < V; ++i)
      a.partials[int64_t{blockIdx.x} * kStripe<T> + static_cast<int>(threadIdx.x) * V + i] = sums[i];
  }
  const int64_t blocks = a.parts.blocks[share.which + 1] - a.parts.blocks[share.which];
  if (!is_last_of(static_cast<unsigned>(blocks), a.counters + share.which)) return;
  finish(a, share.which, kStripe<T>, weight.v, weight.columns);
}

template <class T>
__global__ void __launch_bounds__(kThreads) divide_kernel(const __grid_constant__ SpectralArgs<T> a) {
  constexpr int V = kVector<T>;
  const Share<T> share = share_of(a, false);
  const Columns<T> columns = columns_of(a, share);
  const auto& weight = a.weights[share.which];
  const auto inverse = 1 / a.sigma[share.which];
  for_rows(share, columns, [&](auto count, auto aligned, int64_t row) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> values[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = load_columns<kAligned>(weight.w + (row + i * kDown) * weight.columns + columns.first, columns.left);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
#pragma unroll
      for (int each = 0; each < V; ++each) store(&values[i].at[each], load(values[i].at[each]) * inverse);
      T* const to = weight.result + (row + i * kDown) * weight.columns + columns.first;
      store_columns<kAligned>(to, values[i], columns.left);
    }
  });
}

// partials [blocks]: each block's share of <grad, W>.
template <class T>
__global__ void __launch_bounds__(kThreads) inner_product_kernel(const __grid_constant__ SpectralArgs<T> a) {
  constexpr int V = kVector<T>;
  const Share<T> share = share_of(a, false);
  const Columns<T> columns = columns_of(a, share);
  const auto& weight = a.weights[share.which];
  compute_t<T> sum = 0;
  for_rows(share, columns, [&](auto count, auto aligned, int64_t row) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> values[kCount], grads[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int64_t here = (row + i * kDown) * weight.columns + columns.first;
      values[i] = load_columns<kAligned>(weight.w + here, columns.left);
      grads[i] = load_columns<kAligned>(weight.grad + here, columns.left);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i)
#pragma unroll
      for (int each = 0; each < V; ++each) sum += load(values[i].at[each]) * load(grads[i].at[each]);
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) a.partials[blockIdx.x] = sum;
}

// result = (grad - <grad, W / sigma> u v^T) / sigma. Each block adds up the inner product again, in the same order.
template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ SpectralArgs<T> a) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>;
  __shared__ A inner;
  const Share<T> share = share_of(a, false);
  const Columns<T> columns = columns_of(a, share);
  const auto& weight = a.weights[share.which];
  const A inverse = 1 / a.sigma[share.which];
  const int64_t first = a.parts.blocks[share.which];
  const A sum = sum_in_order(a.partials + first, a.parts.blocks[share.which + 1] - first);
  if (threadIdx.x == 0) inner = sum * inverse;
  __syncthreads();
  if (columns.left <= 0) return;
  A along[V];  // the inner product times v
  const auto v = share.aligned ? load_columns<true>(weight.v + columns.first, columns.left)
                               : load_columns<false>(weight.v + columns.first, columns.left);
#pragma unroll
  for (int i = 0; i < V; ++i) along[i] = inner * load(v.at[i]);
  for_rows(share, columns, [&](auto count, auto aligned, int64_t row) {
    constexpr int kCount = decltype(count)::value;
    constexpr bool kAligned = decltype(aligned)::value;
    Vector<T, V> grads[kCount];
    A factors[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int64_t here = row + i * kDown;
      grads[i] = load_columns<kAligned>(weight.grad + here * weight.columns + columns.first, columns.left);
      factors[i] = load(weight.u[here]);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
#pragma unroll
      for (int each = 0; each < V; ++each)
        store(&grads[i].at[each], (load(grads[i].at[each]) - factors[i] * along[each]) * inverse);
      T* const to = weight.result + (row + i * kDown) * weight.columns + columns.first;
      store_columns<kAligned>(to, grads[i], columns.left);
    }
  });
}

// How a weight is split into blocks: each has one of the groups, in one of the ranges.
struct Cut {
  int64_t groups, span, ranges;  // span: rows or columns of a range
};

// Of a product of `kept` elements, each a sum of `summed` terms. A range is a multiple of `step` terms.
Cut cut_of(int64_t kept, int64_t of_group, int64_t summed, int64_t step) {
  const int64_t groups = ceil_div(kept, of_group), steps = ceil_div(summed, step);
  int64_t ranges = kMostBlocksOfWeight / groups < steps ? kMostBlocksOfWeight / groups : steps;
  if (ranges < 1) ranges = 1;
  const int64_t span = ceil_div(steps, ranges) * step;
  return {groups, span, ceil_div(summed, span)};
}

Cut cut_of_rows(int64_t rows, int64_t columns, int64_t width) {
  return cut_of(rows, kRows, columns, kMinSteps * 32 * width);
}

Cut cut_of_columns(int64_t rows, int64_t columns, int64_t width) {
  return cut_of(columns, kAcross * width, rows, kMinSteps * kDown);
}

// Adds a weight, and its blocks: stripes, or groups of rows if is_of_rows.
template <class T>
void add(SpectralArgs<T>& a, bool is_of_rows, typename SpectralArgs<T>::Weight weight) {
  constexpr int V = kVector<T>;
  const Cut cut = is_of_rows ? cut_of_rows(weight.rows, weight.columns, V)
                             : cut_of_columns(weight.rows, weight.columns, V);
  weight.groups = cut.groups;
  weight.span = cut.span;
  bool aligned = weight.columns % V == 0;
  const void* const addresses[] = {weight.w, weight.grad, weight.result, weight.v};
  for (const void* each : addresses) aligned = aligned && is_aligned(each);
  if (!aligned) a.unaligned |= uint32_t{1} << a.parts.count;
  a.weights[a.parts.count] = weight;
  a.parts.add_blocks(cut.groups * cut.ranges);
}

// u and v are the call's own, or those that products of this call write.
template <class T>
SpectralArgs<T> arguments(const SpectralCall& call, Workspace workspace, bool is_of_rows, bool is_u_new,
                          bool is_v_new) {
  SpectralArgs<T> a{};
  for (int i = 0; i < call.count; ++i) {
    const SpectralWeight& of = call.weights[i];
    void* const u = is_u_new ? of.new_u : const_cast<void*>(of.u);
    void* const v = is_v_new ? of.new_v : const_cast<void*>(of.v);
    add(a, is_of_rows,
        {static_cast<const T*>(of.w), nullptr, static_cast<T*>(of.scaled), static_cast<T*>(u), static_cast<T*>(v),
         of.rows, of.columns, 0, 0});
  }
  a.eps = static_cast<compute_t<T>>(call.eps);
  a.sigma = static_cast<compute_t<T>*>(call.sigma);
  a.partials = static_cast<compute_t<T>*>(workspace.partials);
  a.counters = workspace.counters;
  return a;
}

template <class T>
SpectralArgs<T> arguments(const SpectralGradCall& call, void* partials) {
  SpectralArgs<T> a{};
  for (int i = 0; i < call.count; ++i) {
    const SpectralGrad& of = call.grads[i];
    add(a, false,
        {static_cast<const T*>(of.w), static_cast<const T*>(of.grad), static_cast<T*>(of.dw),
         static_cast<T*>(const_cast<void*>(of.u)), static_cast<T*>(const_cast<void*>(of.v)), of.rows, of.columns, 0,
         0});
  }
  a.sigma = static_cast<compute_t<T>*>(const_cast<void*>(call.sigma));
  a.partials = static_cast<compute_t<T>*>(partials);
  return a;
}

}  // namespace

int64_t spectral_workspace(const SpectralCall& call) {
  const int64_t width = 16 / bytes_of(call.dtype);
  int64_t of_rows = 0, of_columns = 0;
  for (int i = 0; i < call.count; ++i) {
    const SpectralWeight& of = call.weights[i];
    const Cut rows = cut_of_rows(of.rows, of.columns, width), columns = cut_of_columns(of.rows, of.columns, width);
    of_rows += rows.groups * rows.ranges * kRows;
    of_columns += columns.groups * columns.ranges * kAcross * width;
  }
  return of_rows > of_columns ? of_rows : of_columns;
}

cudaError_t spectral_norm(const SpectralCall& call, Workspace workspace) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool iterates = call.iterations > 0;
    const int products = iterates ? 2 * call.iterations : 1;
    for (int step = 0; step < products; ++step) {
      const bool is_of_rows = (step % 2 == 0) != (iterates && call.columns_first);
      auto a = arguments<T>(call, workspace, is_of_rows, iterates && (is_of_rows || step > 0),
                            iterates && (!is_of_rows || step > 0));
      a.normalizes = iterates;
      if (step + 1 < products) a.sigma = nullptr;
      if (is_of_rows)
        FASTGAN_LAUNCH((multiply_rows_kernel<T>), a.parts.all_blocks(), call.where, a);
      else
        FASTGAN_LAUNCH((multiply_columns_kernel<T>), a.parts.all_blocks(), call.where, a);
      if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
    }
    const auto a = arguments<T>(call, workspace, false, iterates, iterates);
    FASTGAN_LAUNCH((divide_kernel<T>), a.parts.all_blocks(), call.where, a);
    return cudaGetLastError();
  });
}

cudaError_t spectral_norm_backward(const SpectralGradCall& call, void* partials) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto a = arguments<T>(call, partials);
    FASTGAN_LAUNCH((inner_product_kernel<T>), a.parts.all_blocks(), call.where, a);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
    FASTGAN_LAUNCH((backward_kernel<T>), a.parts.all_blocks(), call.where, a);
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
