// C = A B for C with at most kNarrow columns, as in first layers with few inputs and last layers with few outputs.
// A panel of B would be mostly padding. So vectors run along A, whose rows or columns are contiguous. Only
// product_loops.h includes this file.
#pragma once

#include "../acts.h"
#include "vectors.h"

namespace fastgan {
namespace {

constexpr int64_t kNarrow = 4;

// Reads min(size, kVectorLanes) floats and sets the other lanes to zero.
Vector read_vector(const float* from, int64_t size) {
  if (size >= kVectorLanes) return *reinterpret_cast<const UnalignedVector*>(from);
  Vector vector{};
  memcpy(&vector, from, static_cast<size_t>(size) * sizeof(float));
  return vector;
}

// Sums over a block of the depth, for A with contiguous rows.
// first, depth: the block is k = first ... first + depth - 1.
// packed: scratch memory, [columns, padded].
// element: called as element(row, column, sum) for each sum.
template <int columns, class Element>
void dot_rows(const Product& p, int64_t first, int64_t depth, float* packed, const Element& element) {
  const int64_t padded = (depth + kVectorLanes - 1) / kVectorLanes * kVectorLanes;
  const int64_t dense = p.dense() - first < depth ? p.dense() - first : depth;
  for (int c = 0; c < columns; ++c)
    for (int64_t k = 0; k < padded; ++k)
      packed[c * padded + k] = k < depth ? p.b[(first + k) * p.b_row + c * p.b_column] : 0.0f;
  for (int64_t row = 0; row < p.rows; ++row) {
    const float* a = p.a + row * p.a_row + first;
    Vector sums[columns] = {};
    for (int64_t k = 0; k < dense; k += kVectorLanes) {
      const Vector of_a = read_vector(a + k, dense - k);
      for (int c = 0; c < columns; ++c)
        sums[c] += of_a * *reinterpret_cast<const UnalignedVector*>(packed + c * padded + k);
    }
    const int64_t hot = p.hot == nullptr ? -1 : p.dense() + p.hot[row] - first;
    if (hot >= 0 && hot < depth)
      for (int c = 0; c < columns; ++c) sums[c][hot % kVectorLanes] += packed[c * padded + hot];
    for (int c = 0; c < columns; ++c) {
      float sum = 0;
      for (int lane = 0; lane < kVectorLanes; ++lane) sum += sums[c][lane];
      element(row, c, sum);
    }
  }
}

// The same for A with contiguous columns.
template <int columns, class Element>
void add_columns(const Product& p, int64_t first, int64_t depth, const Element& element) {
  for (int64_t row = 0; row < p.rows; row += kVectorLanes) {
    const int64_t rows = p.rows - row < kVectorLanes ? p.rows - row : kVectorLanes;
    Vector sums[columns] = {};
    for (int64_t k = first; k < first + depth; ++k) {
      const Vector of_a = read_vector(p.a + k * p.a_column + row, rows);
      for (int c = 0; c < columns; ++c) sums[c] += of_a * p.b[k * p.b_row + c * p.b_column];
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) element(row + r, c, sums[c][r]);
  }
}

// scratch: [kNarrow, kDepthBlock].
template <int columns>
void multiply_columns(const Product& p, float* scratch) {
  const int64_t blocks = depth_blocks(p.depth), each = (p.depth + blocks - 1) / blocks;
  for (int64_t index = 0; index < blocks; ++index) {
    const int64_t first = index * each, depth = p.depth - first < each ? p.depth - first : each;
    const bool is_last = index == blocks - 1;
    const auto element = [&](int64_t row, int column, float t) {
      float& c = p.c[row * p.c_row + column];
      if (first > 0) t += c;
      if (is_last) {
        if (p.bias != nullptr) t += p.bias[column];
        if (p.activate) t = t > 0 ? t : p.negative_slope * t;
        t = bounded(p.gain * t, p.bound);
        if (p.output != nullptr) t = p.output[row * p.c_row + column] > 0 ? t : p.negative_slope * t;
      }
      c = t;
    };
    p.a_column == 1 ? dot_rows<columns>(p, first, depth, scratch, element)
                    : add_columns<columns>(p, first, depth, element);
  }
}

void multiply_narrow(const Product& p, float* scratch) {
  switch (p.columns) {
    case 1: return multiply_columns<1>(p, scratch);
    case 2: return multiply_columns<2>(p, scratch);
    case 3: return multiply_columns<3>(p, scratch);
    default: return multiply_columns<kNarrow>(p, scratch);
  }
}

}  // namespace
}  // namespace fastgan
