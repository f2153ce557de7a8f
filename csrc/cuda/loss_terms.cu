// What has an element for each logit: the terms of a loss, and its gradients alone. No sum, so no tile and no order.
#include "loss_ranges.cuh"

namespace fastgan::cuda {
namespace {

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
  if (is_first || kSecond<kFirst> == kFirst)
    each_of_range<T, kFirst, kGrad>(own_range<kFirst>(a, is_first, scale), tensor.incoming);
  else
    each_of_range<T, kSecond<kFirst>, kGrad>(own_range<kSecond<kFirst>>(a, false, scale), tensor.incoming);
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

cudaError_t loss_terms(const LossCall& call) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), false>(call, nullptr, DType::f32); });
}

cudaError_t loss_backward(const LossCall& call, const void* scale, DType scale_dtype) {
  return with_type(call.dtype, [&](auto zero) { return each<decltype(zero), true>(call, scale, scale_dtype); });
}

}  // namespace fastgan::cuda
