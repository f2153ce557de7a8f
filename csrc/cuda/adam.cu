// Bound by memory: reads four arrays and writes three, 28 bytes per float, or 36 with an average. Blocks stride over
// the arrays, 16 bytes per thread. The last block to finish increments the step count, after all others have read it.
#include "adam.h"

#include "reduce.cuh"

namespace fastgan::cuda {
namespace {

constexpr int64_t kMaxBlocks = int64_t{4} * kMaxRanges;  // several blocks for each multiprocessor of any GPU

template <class T>
struct AdamArgs {  // arrays: as in AdamCall
  T* values;
  const T* grads;
  T* exp_avg;
  T* exp_avg_sq;
  T* average;
  BFloat16* halves;
  int64_t size;
  float* count;
  bool is_first, aligned;
  const float* learning_rate;
  const float* average_weight;
  compute_t<T> beta1, left1, beta2, left2, eps, weight_decay;  // left: 1 - beta, computed in double, rounded once
  double log_beta1, log_beta2;
  unsigned* counter;
};

// 1 - beta^step. In the first steps, beta^step in float would be so close to 1 that only three digits were left.
template <class A>
__device__ A correction(double log_beta, double step) {
  if constexpr (sizeof(A) == 8) return -expm1(step * log_beta);
  return -expm1f(static_cast<float>(step * log_beta));
}

// As torch.lerp, exact for weights 0 and 1.
template <class A>
__device__ A lerp(A from, A to, A weight) {
  return weight < A(0.5) ? from + weight * (to - from) : to - (to - from) * (A(1) - weight);
}

template <class T>
struct Step {
  using A = compute_t<T>;
  A size;   // learning rate / correction of the first moment
  A root2;  // square root of the correction of the second moment
  A average_weight;
};

template <class T, int V>
__device__ void move(const AdamArgs<T>& a, const Step<T>& step, int64_t at, bool aligned) {
  using A = compute_t<T>;
  auto values = load_vector<T, V>(a.values + at, aligned);
  const auto grads = load_vector<T, V>(a.grads + at, aligned);
  auto exp_avg = load_vector<T, V>(a.exp_avg + at, aligned), exp_avg_sq = load_vector<T, V>(a.exp_avg_sq + at, aligned);
  Vector<T, V> average;
  Vector<BFloat16, V> halves;
  if (a.average != nullptr) average = load_vector<T, V>(a.average + at, aligned);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    A g = load(grads.at[i]);
    if (a.weight_decay != A(0)) g += a.weight_decay * load(values.at[i]);
    const A m = a.beta1 * load(exp_avg.at[i]) + a.left1 * g;
    const A v = a.beta2 * load(exp_avg_sq.at[i]) + a.left2 * g * g;
    store(&exp_avg.at[i], m);
    store(&exp_avg_sq.at[i], v);
    store(&values.at[i], load(values.at[i]) - step.size * m / (root(v) / step.root2 + a.eps));
    if (a.average != nullptr)
      store(&average.at[i], lerp(load(average.at[i]), load(values.at[i]), step.average_weight));
    store(&halves.at[i], static_cast<float>(load(values.at[i])));
  }
  store_vector<T, V>(a.values + at, values, aligned);
  store_vector<T, V>(a.exp_avg + at, exp_avg, aligned);
  store_vector<T, V>(a.exp_avg_sq + at, exp_avg_sq, aligned);
  if (a.average != nullptr) store_vector<T, V>(a.average + at, average, aligned);
  if (a.halves != nullptr) store_vector<BFloat16, V>(a.halves + at, halves, aligned);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) adam_kernel(const AdamArgs<T> a) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>;
  const double count = static_cast<double>(*a.count) + (a.is_first ? 1 : 0);
  const Step<T> step{static_cast<A>(*a.learning_rate) / correction<A>(a.log_beta1, count),
                     root(correction<A>(a.log_beta2, count)), static_cast<A>(*a.average_weight)};
  const int64_t apart = int64_t{gridDim.x} * kThreads * V;
  for (int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * V; at < a.size; at += apart) {
    if (at + V <= a.size) {
      move<T, V>(a, step, at, a.aligned);
    } else {
#pragma unroll 1
      for (int64_t each = at; each < a.size; ++each) move<T, 1>(a, step, each, true);
    }
  }
  if (is_last_of(gridDim.x, a.counter) && threadIdx.x == 0) *a.count = static_cast<float>(count);
}

}  // namespace

cudaError_t adam(const AdamCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    AdamArgs<T> a{};
    a.values = static_cast<T*>(call.values);
    a.grads = static_cast<const T*>(call.grads);
    a.exp_avg = static_cast<T*>(call.exp_avg);
    a.exp_avg_sq = static_cast<T*>(call.exp_avg_sq);
    a.average = static_cast<T*>(call.average);
    a.halves = static_cast<BFloat16*>(call.halves);
    a.size = call.size;
    a.count = call.count;
    a.is_first = call.is_first;
    a.aligned = is_aligned(call.values) && is_aligned(call.grads) && is_aligned(call.exp_avg) &&
                is_aligned(call.exp_avg_sq) && is_aligned(call.average) && is_aligned(call.halves);
    a.learning_rate = call.learning_rate;
    a.average_weight = call.average_weight;
    a.beta1 = static_cast<A>(call.beta1);
    a.left1 = static_cast<A>(1 - call.beta1);
    a.beta2 = static_cast<A>(call.beta2);
    a.left2 = static_cast<A>(1 - call.beta2);
    a.eps = static_cast<A>(call.eps);
    a.weight_decay = static_cast<A>(call.weight_decay);
    a.log_beta1 = log(call.beta1);
    a.log_beta2 = log(call.beta2);
    a.counter = call.counter;
    const int64_t blocks = ceil_div(call.size, int64_t{kThreads} * kVector<T>);
    FASTGAN_LAUNCH((adam_kernel<T>), blocks < kMaxBlocks ? blocks : kMaxBlocks, call.where, a);
    return cudaGetLastError();
  });
}

}  // namespace fastgan::cuda
