// What both modules' bindings share. Pointers arrive as integers, from fastgan/kernels/ alone, which has checked
// device, dtype, contiguity and sizes; nothing is checked again.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "calls.h"

namespace fastgan {

using Address = uintptr_t;
using Addresses = std::vector<Address>;
using Sizes = std::vector<int64_t>;
using Numbers = std::vector<double>;

inline void* pointer(Address address) { return reinterpret_cast<void*>(address); }
inline float* floats(Address address) { return reinterpret_cast<float*>(address); }
// Of an output that may be left out for all tensors alike.
inline void* pointer(const Addresses& addresses, size_t i) { return addresses.empty() ? nullptr : pointer(addresses[i]); }

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

inline Scale scale_of(Address at, int dtype) { return {pointer(at), static_cast<DType>(dtype)}; }
inline Result result_of(Address at, int dtype) { return {pointer(at), static_cast<DType>(dtype)}; }
constexpr Scale kOne{nullptr, DType::f32};

}  // namespace fastgan
