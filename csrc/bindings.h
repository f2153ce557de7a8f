// Shared by the bindings of both modules. Python passes pointers as integers. Only fastgan/kernels/ calls these
// functions, and it has checked device, dtype, contiguity and sizes; nothing is checked again here.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "calls.h"

namespace fastgan {

// A list or tuple argument, read in place: a std::vector per argument would allocate as often.
template <class T>
struct Items {
  PyObject* sequence = nullptr;  // borrowed from the call
  size_t size() const { return static_cast<size_t>(PySequence_Fast_GET_SIZE(sequence)); }
  T operator[](size_t i) const { return pybind11::cast<T>(pybind11::handle(PySequence_Fast_GET_ITEM(sequence, i))); }
};

using Address = uintptr_t;
using Addresses = Items<Address>;
using Sizes = Items<int64_t>;
using Numbers = Items<double>;

inline void* pointer(Address address) { return reinterpret_cast<void*>(address); }
inline float* floats(Address address) { return reinterpret_cast<float*>(address); }
// The address of tensor i's optional output: null if the list is empty.
inline void* pointer(const Addresses& addresses, size_t i) { return addresses.size() == 0 ? nullptr : pointer(addresses[i]); }

inline std::vector<LossTensor> loss_tensors(const Addresses& logits, const Sizes& sizes, const Numbers& labels,
                                            const Numbers& weights, const Addresses& outputs) {
  std::vector<LossTensor> tensors;
  tensors.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    tensors.push_back({pointer(logits[i]), sizes[i], labels[i], weights[i], nullptr, pointer(outputs, i)});
  return tensors;
}

inline std::vector<HeadTensor> head_tensors(const Addresses& features, const Sizes& rows, const Numbers& labels,
                                            const Numbers& weights, const Addresses& slopes, const Addresses& grads) {
  std::vector<HeadTensor> tensors;
  tensors.reserve(features.size());
  for (size_t i = 0; i < features.size(); ++i)
    tensors.push_back({pointer(features[i]), rows[i], labels[i], weights[i], pointer(slopes, i), pointer(grads, i)});
  return tensors;
}

inline std::vector<L1Pair> l1_pairs(const Addresses& x, const Addresses& y, const Sizes& sizes, const Numbers& weights,
                                    const Addresses& dx, const Addresses& dy) {
  std::vector<L1Pair> pairs;
  pairs.reserve(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    pairs.push_back({pointer(x[i]), pointer(y[i]), sizes[i], weights[i], pointer(dx, i), pointer(dy, i), nullptr});
  return pairs;
}

inline std::vector<SpectralWeight> spectral_weights(const Addresses& w, const Sizes& rows, const Sizes& columns,
                                                    const Addresses& u, const Addresses& v, const Addresses& new_u,
                                                    const Addresses& new_v, const Addresses& scaled) {
  std::vector<SpectralWeight> weights;
  weights.reserve(w.size());
  for (size_t i = 0; i < w.size(); ++i)
    weights.push_back({pointer(w[i]), rows[i], columns[i], pointer(u[i]), pointer(v[i]), pointer(new_u, i),
                       pointer(new_v, i), pointer(scaled[i])});
  return weights;
}

inline std::vector<SpectralGrad> spectral_grads(const Addresses& w, const Sizes& rows, const Sizes& columns,
                                                const Addresses& u, const Addresses& v, const Addresses& grads,
                                                const Addresses& dw) {
  std::vector<SpectralGrad> all;
  all.reserve(w.size());
  for (size_t i = 0; i < w.size(); ++i)
    all.push_back({pointer(grads[i]), pointer(w[i]), rows[i], columns[i], pointer(u[i]), pointer(v[i]),
                   pointer(dw[i])});
  return all;
}

inline Scale scale_of(Address at, int dtype) { return {pointer(at), static_cast<DType>(dtype)}; }
inline Result result_of(Address at, int dtype) { return {pointer(at), static_cast<DType>(dtype)}; }
inline PerChannel per_channel(const Addresses& addresses, const Sizes& dtypes, size_t i) {
  return {pointer(addresses[i]), static_cast<DType>(dtypes[i])};
}
// numbers, dtypes: mean, var, weight and bias.
inline BatchNormCall batch_norm_call(const LayerShape& shape, double negative_slope, double eps,
                                     const Addresses& numbers, const Sizes& dtypes) {
  return {shape, per_channel(numbers, dtypes, 0), per_channel(numbers, dtypes, 1), per_channel(numbers, dtypes, 2),
          per_channel(numbers, dtypes, 3), eps, negative_slope};
}
// numbers, dtypes: alpha and beta.
inline SnakeCall snake_call(int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last,
                            Address input, const Addresses& numbers, const Sizes& dtypes, bool log_scale, double eps,
                            Where where) {
  return {static_cast<DType>(dtype), samples, channels, length, channels_last, pointer(input),
          per_channel(numbers, dtypes, 0), per_channel(numbers, dtypes, 1), log_scale, eps, where};
}
// filters, dtypes, taps: those before upsampling and before downsampling.
inline SnakeFilters snake_filters(const Addresses& filters, const Sizes& dtypes, const Sizes& taps) {
  return {pointer(filters[0]), pointer(filters[1]), static_cast<DType>(dtypes[0]), static_cast<DType>(dtypes[1]),
          static_cast<int>(taps[0]), static_cast<int>(taps[1])};
}
// grads, dtypes: those of alpha and beta.
inline SnakeGrad snake_grad(Address incoming, Address input, const Addresses& grads, const Sizes& dtypes) {
  return {pointer(incoming), pointer(input), per_channel(grads, dtypes, 0), per_channel(grads, dtypes, 1)};
}
constexpr Scale kOne{nullptr, DType::f32};

}  // namespace fastgan

namespace pybind11::detail {

template <class T>
struct type_caster<fastgan::Items<T>> {
  PYBIND11_TYPE_CASTER(fastgan::Items<T>,
                       const_name("collections.abc.Sequence[") + make_caster<T>::name + const_name("]"));
  bool load(handle source, bool) {
    value.sequence = source.ptr();
    return PyTuple_Check(value.sequence) || PyList_Check(value.sequence);
  }
};

}  // namespace pybind11::detail
