// Avoids allocations for up to kFew values: in a small call they cost more than the arithmetic.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fastgan {

constexpr int64_t kFew = 8;

template <class T>
T* room_for(int64_t count, std::array<T, kFew>& few, std::vector<T>& many) {
  if (count <= kFew) return few.data();
  many.resize(static_cast<size_t>(count));
  return many.data();
}

}  // namespace fastgan
