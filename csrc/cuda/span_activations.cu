// A block copies its rows to shared memory, adding the noise, lets groups of lanes replace the spans by their
// activations or gradients there, and copies the rows back: neighbouring threads access neighbouring columns, and
// logarithms, the largest part of the arithmetic, are spread over all threads. Rows that do not fit are read from
// memory in each pass over a span. One warp computes the cross-entropy of a row.
#include "spans.cuh"

namespace fastgan::cuda {
namespace {

__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }

// Noise of the Gumbel distribution from a number in [0, 1), of which the least is 2^-25.
template <class A>
__device__ A gumbel(float uniform) {
  const A u = static_cast<A>(uniform > 0x1p-25f ? uniform : 0x1p-25f);
  return -logarithm(-logarithm(u));
}

// The softmax of logits over the columns of the span of a row's condition: exp(logit - highest) / sum.
template <class A>
struct Softmax {
  int column, first, stop;  // the condition's column, and its span
  A highest, sum;
};

template <class T>
struct SpanArgs {
  using A = compute_t<T>;
  RowGrid grid;
  SpanTables tables;
  A inverse_temperature;
  const T* input;
  const float* noise;
  const int64_t* conditions;
  T* output;
  int64_t stride;  // of rows of the output

  __device__ A noisy(int64_t at) const {
    const A x = load(input[at]);
    return noise == nullptr ? x : x + gumbel<A>(noise[at]);
  }
};

// Called by all lanes of a warp.
template <class T, class A = compute_t<T>>
__device__ Softmax<A> softmax_of_condition(const SpanArgs<T>& a, int64_t row) {
  const int64_t given = a.conditions[row], last = a.tables.conditions - 1;
  const int32_t* const target = a.tables.targets + 3 * (given < 0 ? 0 : given > last ? last : given);
  Softmax<A> result{target[0], target[1], target[2], -INFINITY, 0};
  const T* const x = a.input + row * a.grid.width;
  const int first = result.first + static_cast<int>(threadIdx.x) % 32;
  for (int column = first; column < result.stop; column += 32) {
    const A value = load(x[column]);
    result.highest = value > result.highest ? value : result.highest;
  }
  result.highest = highest_of_lanes<32>(result.highest);
  for (int column = first; column < result.stop; column += 32)
    result.sum += exp_minus_abs_of<A>(result.highest - load(x[column]));
  result.sum = sum_of_lanes<32>(result.sum);
  return result;
}

// Of the row that a warp has among `rows` rows; lane 0 returns it, others 0.
template <class T, class A = compute_t<T>>
__device__ A cross_entropy(const SpanArgs<T>& a, int64_t first, int rows) {
  const int row = static_cast<int>(threadIdx.x) / 32;
  if (row >= rows) return 0;
  const Softmax<A> softmax = softmax_of_condition(a, first + row);
  const A chosen = load(a.input[(first + row) * a.grid.width + softmax.column]);
  return threadIdx.x % 32 == 0 ? softmax.highest - chosen + logarithm(softmax.sum) : A(0);
}

// The last block adds up the cross-entropies of all blocks, and divides by the number of rows.
template <class A>
__device__ void finish_entropy(A sum, int64_t rows, A* partials, unsigned* counter, A* entropy) {
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
  if (!is_last_of(gridDim.x, counter)) return;
  const A all = sum_in_order(partials, gridDim.x);
  if (threadIdx.x == 0) *entropy = all / static_cast<A>(rows);
}

// Three blocks on a multiprocessor: without that number ptxas stays at 32 or 40 registers in some of these kernels, and
// spills.
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads, 3)
    spans_kernel(const __grid_constant__ SpanArgs<T> a, compute_t<T>* entropy, compute_t<T>* partials,
                 unsigned* counter) {
  using A = compute_t<T>;
  FASTGAN_DYNAMIC_SHARED(A, shared);
  A entropies = 0;
  for_rows(a.grid, [&](int64_t first, int rows) {
    const int64_t before = first * a.grid.width;
    if (kShared) for_elements(a.grid, rows, [&](int, int, int at) { shared[at] = a.noisy(before + at); });
    if (a.conditions != nullptr) entropies += cross_entropy(a, first, rows);
    __syncthreads();
    for_spans(a.tables, rows, [&](const Span& span, auto lanes) {
      constexpr int kGroup = decltype(lanes)::value;
      const int start = span.row * a.grid.width + span.first, lane = static_cast<int>(threadIdx.x) % kGroup;
      const int size = span.size == 1 ? 0 : span.size;  // of a softmax
      T* const output = a.output + (first + span.row) * a.stride + span.first;
      const auto put = [&](int i, A value) { kShared ? void(shared[start + i] = value) : store(output + i, value); };
      const auto logit = [&](int i) { return kShared ? shared[start + i] : a.noisy(before + start + i); };
      if (span.size == 1 && lane == 0) put(0, hyperbolic_tangent(load(a.input[before + start])));
      A highest = -INFINITY, sum = 0;
      for (int i = lane; i < size; i += kGroup) {
        const A value = logit(i);
        highest = value > highest ? value : highest;
      }
      highest = highest_of_lanes<kGroup>(highest);
      const auto exponential = [&](int i) { return exp_minus_abs_of<T>((highest - logit(i)) * a.inverse_temperature); };
      for (int i = lane; i < size; i += kGroup) {
        const A e = exponential(i);
        if (kShared) shared[start + i] = e;
        sum += e;
      }
      const A inverse = A(1) / sum_of_lanes<kGroup>(sum);
      for (int i = lane; i < size; i += kGroup) put(i, inverse * (kShared ? shared[start + i] : exponential(i)));
    });
    __syncthreads();
    if (!kShared) return;
    T* const output = a.output + first * a.stride;
    for_elements(a.grid, rows,
                 [&](int row, int column, int at) { store(output + row * a.stride + column, shared[at]); });
    __syncthreads();  // the next rows overwrite shared memory
  });
  if (a.conditions != nullptr) finish_entropy(entropies, a.grid.rows, partials, counter, entropy);
}

template <class T>
struct Incoming {
  const T* grad;
  int64_t stride;
  Scale entropy;
  T* dx;
};

// y is the output, dy its gradient. A softmax has dx = y (dy - sum(y dy)) / temperature, tanh dy (1 - y^2).
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads, 3)
    spans_backward_kernel(const __grid_constant__ SpanArgs<T> a, const __grid_constant__ Incoming<T> incoming) {
  using A = compute_t<T>;
  FASTGAN_DYNAMIC_SHARED(A, shared);
  __shared__ Softmax<A> softmax_of_row[kMostRows];
  A* const shared_dy = shared + a.grid.at_once * a.grid.width;
  const bool with_entropy = a.input != nullptr;
  const A share = with_entropy ? static_cast<A>(load_scale(incoming.entropy) / static_cast<double>(a.grid.rows)) : A(0);
  for_rows(a.grid, [&](int64_t first, int rows) {
    const int64_t before = first * a.grid.width;
    const T *const outputs = a.output + first * a.stride, *const grads = incoming.grad + first * incoming.stride;
    if (kShared)
      for_elements(a.grid, rows, [&](int row, int column, int at) {
        shared[at] = load(outputs[row * a.stride + column]);
        shared_dy[at] = load(grads[row * incoming.stride + column]);
      });
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (with_entropy && warp < rows) {
      const Softmax<A> softmax = softmax_of_condition(a, first + warp);
      if (threadIdx.x % 32 == 0) softmax_of_row[warp] = softmax;
    }
    __syncthreads();
    for_spans(a.tables, rows, [&](const Span& span, auto lanes) {
      constexpr int kGroup = decltype(lanes)::value;
      const int start = span.row * a.grid.width + span.first, lane = static_cast<int>(threadIdx.x) % kGroup;
      const T* const output = outputs + span.row * a.stride + span.first;
      const T* const grad = grads + span.row * incoming.stride + span.first;
      const auto y = [&](int i) { return kShared ? shared[start + i] : load(output[i]); };
      const auto dy = [&](int i) { return kShared ? shared_dy[start + i] : load(grad[i]); };
      const auto put = [&](int i, A value) {
        kShared ? void(shared[start + i] = value) : store(incoming.dx + before + start + i, value);
      };
      A sum = 0;
      for (int i = lane; i < span.size; i += kGroup) sum += y(i) * dy(i);
      sum = sum_of_lanes<kGroup>(sum);
      if (span.size == 1) {
        if (lane == 0) put(0, dy(0) * (A(1) - y(0) * y(0)));
        return;
      }
      const Softmax<A>& own = softmax_of_row[span.row];
      const bool has_condition = with_entropy && own.first == span.first;
      const A of_sum = has_condition ? A(1) / own.sum : A(0);
      for (int i = lane; i < span.size; i += kGroup) {
        A dx = y(i) * (dy(i) - sum) * a.inverse_temperature;
        if (has_condition) {
          const A probability = exp_minus_abs_of<A>(own.highest - load(a.input[before + start + i])) * of_sum;
          dx += (probability - (span.first + i == own.column ? A(1) : A(0))) * share;
        }
        put(i, dx);
      }
    });
    __syncthreads();
    if (!kShared) return;
    for_elements(a.grid, rows, [&](int, int, int at) { store(incoming.dx + before + at, shared[at]); });
    __syncthreads();  // the next rows overwrite shared memory
  });
}

template <class T>
SpanArgs<T> arguments(const SpanCall& call) {
  return {row_grid(call.rows, call.width),
          call.tables,
          static_cast<compute_t<T>>(1 / call.temperature),
          static_cast<const T*>(call.input),
          call.noise,
          call.conditions,
          static_cast<T*>(call.output.at),
          call.output.stride};
}

}  // namespace

cudaError_t span_activations(const SpanCall& call, void* entropy, Workspace workspace) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const SpanArgs<T> a = arguments<T>(call);
    const int64_t bytes = a.grid.at_once * call.width * static_cast<int64_t>(sizeof(A));
    A *const result = static_cast<A*>(entropy), *const partials = static_cast<A*>(workspace.partials);
    if (bytes <= most_shared_bytes())
      FASTGAN_LAUNCH_WITH_SHARED((spans_kernel<T, true>), a.grid.blocks, bytes, call.where, a, result, partials,
                                 workspace.counters);
    else
      FASTGAN_LAUNCH((spans_kernel<T, false>), a.grid.blocks, call.where, a, result, partials, workspace.counters);
    return cudaGetLastError();
  });
}

cudaError_t span_activations_backward(const SpanCall& call, Rows grad, Scale grad_entropy, void* dx) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const SpanArgs<T> a = arguments<T>(call);
    const Incoming<T> incoming{static_cast<const T*>(grad.at), grad.stride, grad_entropy, static_cast<T*>(dx)};
    const int64_t bytes = 2 * a.grid.at_once * call.width * static_cast<int64_t>(sizeof(compute_t<T>));
    if (bytes <= most_shared_bytes())
      FASTGAN_LAUNCH_WITH_SHARED((spans_backward_kernel<T, true>), a.grid.blocks, bytes, call.where, a, incoming);
    else
      FASTGAN_LAUNCH((spans_backward_kernel<T, false>), a.grid.blocks, call.where, a, incoming);
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
