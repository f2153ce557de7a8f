// Access to arrays whose element type is known only at run time.
#pragma once

#include "calls.h"

namespace fastgan {

FASTGAN_HD int64_t bytes_of(DType dtype) {
  return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2;
}

// The address `offset` elements after base; null for a null base.
FASTGAN_HD const void* advance(const void* base, int64_t offset, DType dtype) {
  return base == nullptr ? nullptr : static_cast<const char*>(base) + offset * bytes_of(dtype);
}
FASTGAN_HD void* advance(void* base, int64_t offset, DType dtype) {
  return const_cast<void*>(advance(static_cast<const void*>(base), offset, dtype));
}

FASTGAN_HD double load_element(const void* from, DType dtype) {
  switch (dtype) {
    case DType::f64: return load(*static_cast<const double*>(from));
    case DType::f32: return load(*static_cast<const float*>(from));
    case DType::f16: return load(*static_cast<const Half*>(from));
    case DType::bf16: return load(*static_cast<const BFloat16*>(from));
  }
  return 0;
}

FASTGAN_HD double load_scale(Scale scale) { return scale.at == nullptr ? 1.0 : load_element(scale.at, scale.dtype); }

FASTGAN_HD DType compute_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

FASTGAN_HD void store_element(void* to, DType dtype, double value) {
  switch (dtype) {
    case DType::f64: return store(static_cast<double*>(to), value);
    case DType::f32: return store(static_cast<float*>(to), static_cast<float>(value));
    case DType::f16: return store(static_cast<Half*>(to), static_cast<float>(value));
    case DType::bf16: return store(static_cast<BFloat16*>(to), static_cast<float>(value));
  }
}

}  // namespace fastgan
