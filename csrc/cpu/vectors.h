// A vector of floats of the instruction set's width. Only isa.cpp's loops include this file. Internal linkage, as
// isa.cpp is compiled once per instruction set.
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
// For reading unaligned vectors. g++ compiles a memcpy of two vectors to four copies of half a vector on the stack,
// which defeats store forwarding and makes the loop take five times as long.
typedef float UnalignedVector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));

}  // namespace
}  // namespace fastgan
