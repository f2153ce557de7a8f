// Numbers for each channel: in the storage type T, or in its compute type.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

template <class T>
__device__ bool is_computed(const PerChannel& numbers) {
  return numbers.dtype == (sizeof(compute_t<T>) == 8 ? DType::f64 : DType::f32);
}

template <class T>
__device__ compute_t<T> load_number(const PerChannel& numbers, int64_t channel, compute_t<T> otherwise) {
  if (numbers.at == nullptr) return otherwise;
  return is_computed<T>(numbers) ? static_cast<const compute_t<T>*>(numbers.at)[channel]
                                 : load(static_cast<const T*>(numbers.at)[channel]);
}

template <class T>
__device__ void store_number(const PerChannel& numbers, int64_t channel, compute_t<T> value) {
  if (numbers.at == nullptr) return;
  if (is_computed<T>(numbers))
    static_cast<compute_t<T>*>(numbers.at)[channel] = value;
  else
    store(static_cast<T*>(numbers.at) + channel, value);
}

}  // namespace fastgan::cuda
