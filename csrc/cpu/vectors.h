// A vector of floats, as wide as the instruction set has. Included by isa.cpp's loops alone; internal linkage.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kVectorLanes = kVectorBytes / 4;
typedef float Vector __attribute__((vector_size(kVectorBytes)));
// Unaligned vectors are read through this type. g++ compiles a memcpy of two vectors to four copies of half a vector
// on the stack, which defeats store forwarding: the loop takes five times as long.
typedef float UnalignedVector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));

}  // namespace
}  // namespace fastgan
