// C = A B in float, with bias and activation applied to C before it is stored. Included by isa.cpp only; internal
// linkage.
//
// A tile of C, kTileRows rows by two vectors, stays in registers over a block of the depth; each step reads two vectors
// of B and broadcasts a column of A. B is packed, zero-padded, into a panel in L1, in reading order. A's block of rows
// stays in L2; it is read in place if A's rows are contiguous, else packed. Packing a panel costs 1 / kRowBlock of its
// arithmetic.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "narrow_loops.h"

namespace fastgan {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 8;  // 16 of 32 registers accumulate
#elif defined(__AVX2__)
constexpr int kTileRows = 6;  // 12 of 16 registers accumulate, two hold B, one holds A
#else
constexpr int kTileRows = 4;
#endif
constexpr int kPanel = 2 * kVectorLanes;
static_assert(kProductPanel % kPanel == 0 && kRowBlock % kTileRows == 0, "the scratch would be too small");

// Part of a product: rows and columns of C, and a block of the depth.
struct Block {
  int64_t first_row, rows;
  int64_t first_column, columns;
  int64_t first, depth;
  int64_t dense;           // of the depth: the columns of A before those of which one is 1
  bool is_first, is_last;  // block of the depth

  // Whether it has the column of A that is 1 in some row.
  bool has(int64_t hot) const { return hot >= first && hot < first + depth; }
};

#if defined(__AVX2__)
void transpose_8x8(const float* from, int64_t row, float* to) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(from + i * row);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * kPanel, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * kPanel, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}
#endif

// Packs columns of B, which are contiguous, into panel [depth, kPanel]; `column` is the distance between columns.
void pack_columns(const float* b, int64_t column, int64_t width, int64_t depth, float* panel) {
  int64_t k = 0;
#if defined(__AVX2__)
  if (width == kPanel)
    for (; k + 8 <= depth; k += 8)
      for (int64_t j = 0; j < kPanel; j += 8) transpose_8x8(b + j * column + k, column, panel + k * kPanel + j);
#endif
  for (; k < depth; ++k)
    for (int64_t j = 0; j < kPanel; ++j) panel[k * kPanel + j] = j < width ? b[j * column + k] : 0.0f;
}

void pack_panel(const Product& p, const Block& block, int64_t column, int64_t width, float* panel) {
  const float* b = p.b + block.first * p.b_row + column * p.b_column;
  if (p.b_column != 1) return pack_columns(b, p.b_column, width, block.depth, panel);
  for (int64_t k = 0; k < block.depth; ++k, b += p.b_row, panel += kPanel) {
    if (width == kPanel) {
      __builtin_prefetch(b + kPanel, 0, 2);  // of the next panel: hardware does not foresee rows that lie far apart
      memcpy(panel, b, kPanel * sizeof(float));
    } else {
      memcpy(panel, b, static_cast<size_t>(width) * sizeof(float));
      memset(panel + width, 0, static_cast<size_t>(kPanel - width) * sizeof(float));
    }
  }
}

// Packs rows of A, whose columns are contiguous, into tiles [depth, kTileRows], the last padded with zeros.
void pack_rows(const Product& p, const Block& block, float* packed) {
  for (int64_t row = 0; row < block.rows; row += kTileRows) {
    const float* a = p.a + (block.first_row + row) + block.first * p.a_column;
    const int64_t rows = block.rows - row < kTileRows ? block.rows - row : kTileRows;
    for (int64_t k = 0; k < block.depth; ++k, a += p.a_column, packed += kTileRows) {
      if (rows == kTileRows) {
        memcpy(packed, a, kTileRows * sizeof(float));
      } else {
        for (int64_t r = 0; r < kTileRows; ++r) packed[r] = r < rows ? a[r] : 0.0f;
      }
      if (p.a_scale != nullptr)
        for (int64_t r = 0; r < kTileRows; ++r) packed[r] *= p.a_scale[block.first + k];
    }
  }
}

// One row of a tile.
struct Row {
  Vector half[2];
};

Row read(const float* from, int64_t width) {
  Row row{};
  if (width == kPanel) {
    for (int h = 0; h < 2; ++h) row.half[h] = *reinterpret_cast<const UnalignedVector*>(from + h * kVectorLanes);
  } else {
    memcpy(&row, from, static_cast<size_t>(width) * sizeof(float));
  }
  return row;
}

void write(float* to, const Row& row, int64_t width) {
  if (width == kPanel) {
    for (int h = 0; h < 2; ++h) *reinterpret_cast<UnalignedVector*>(to + h * kVectorLanes) = row.half[h];
  } else {
    memcpy(to, &row, static_cast<size_t>(width) * sizeof(float));
  }
}

// The first `count` rows of tile = A B over one block of the depth; rows[r][k * step] is A's element (r, k).
template <int64_t step, int count>
void multiply_rows(const float* const (&rows)[kTileRows], int64_t depth, const float* panel, Row* tile) {
  Row sums[count] = {};
  for (int64_t k = 0; k < depth; ++k, panel += kPanel) {
    const Vector b0 = *reinterpret_cast<const UnalignedVector*>(panel);
    const Vector b1 = *reinterpret_cast<const UnalignedVector*>(panel + kVectorLanes);
    for (int r = 0; r < count; ++r) {
      const float a = rows[r][k * step];
      sums[r].half[0] += a * b0;
      sums[r].half[1] += a * b1;
    }
  }
  for (int r = 0; r < count; ++r) tile[r] = sums[r];
}

// At least `count` rows of the tile.
template <int64_t step>
void multiply_tile(const float* const (&rows)[kTileRows], int64_t count, int64_t depth, const float* panel,
                   Row* tile) {
  if (count == 1) return multiply_rows<step, 1>(rows, depth, panel, tile);
  if (count == 2) return multiply_rows<step, 2>(rows, depth, panel, tile);
  if (count <= 4) return multiply_rows<step, 4>(rows, depth, panel, tile);
  multiply_rows<step, kTileRows>(rows, depth, panel, tile);
}

// Whether a product's elements change after their sum.
bool has_epilogue(const Product& p) {
  return p.bias != nullptr || p.activate || p.gain != 1 || p.bound == p.bound || p.output != nullptr;
}

// Bias and activation for a row of C. In vectors: signs are random, so branches would be mispredicted.
Row finished(const Product& p, int64_t row, int64_t column, int64_t width, Row z) {
  if (p.bias != nullptr) {
    const Row bias = read(p.bias + column, width);
    for (int h = 0; h < 2; ++h) z.half[h] += bias.half[h];
  }
  const float slope = p.negative_slope, gain = p.gain, bound = p.bound;
  if (p.activate)
    for (int h = 0; h < 2; ++h) z.half[h] = z.half[h] > 0 ? z.half[h] : slope * z.half[h];
  if (gain != 1)
    for (int h = 0; h < 2; ++h) z.half[h] *= gain;
  if (bound == bound)
    for (int h = 0; h < 2; ++h) z.half[h] = z.half[h] > bound ? bound : z.half[h] < -bound ? -bound : z.half[h];
  if (p.output != nullptr) {
    const Row output = read(p.output + row * p.c_row + column, width);
    for (int h = 0; h < 2; ++h) z.half[h] = output.half[h] > 0 ? z.half[h] : slope * z.half[h];
  }
  return z;
}

void multiply_panel(const Product& p, const Block& block, int64_t column, const float* panel, const float* packed) {
  const int64_t end = block.first_column + block.columns;
  const int64_t width = end - column < kPanel ? end - column : kPanel;
  const bool finishes = block.is_last && has_epilogue(p);
  for (int64_t row = 0; row < block.rows; row += kTileRows) {
    const float* rows[kTileRows];
    Row tile[kTileRows];
    const int64_t count = block.rows - row < kTileRows ? block.rows - row : kTileRows;
    // prefetch the lines of C during the computation; otherwise stores wait for lines held by another core's cache
    for (int64_t r = 0; r < count; ++r)
      __builtin_prefetch(p.c + (block.first_row + row + r) * p.c_row + column, 1);
    if (packed != nullptr) {
      for (int r = 0; r < kTileRows; ++r) rows[r] = packed + row * block.depth + r;
      multiply_tile<kTileRows>(rows, count, block.depth, panel, tile);
    } else {
      for (int r = 0; r < kTileRows; ++r) {  // past the end, repeat the last row; it is not stored
        const int64_t at = block.first_row + (r < count ? row + r : block.rows - 1);
        rows[r] = p.a + at * p.a_row + block.first;
      }
      multiply_tile<1>(rows, count, block.dense, panel, tile);
    }
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = block.first_row + row + r;
      float* c = p.c + at * p.c_row + column;
      Row sums = tile[r];
      if (p.hot != nullptr && block.has(p.dense() + p.hot[at])) {
        const Row of_hot = read(panel + (p.dense() + p.hot[at] - block.first) * kPanel, kPanel);
        for (int h = 0; h < 2; ++h) sums.half[h] += of_hot.half[h];
      }
      if (!block.is_first) {
        const Row before = read(c, width);
        for (int h = 0; h < 2; ++h) sums.half[h] += before.half[h];
      }
      write(c, finishes ? finished(p, at, column, width, sums) : sums, width);
    }
  }
}

void multiply(const Product& p, int64_t first_column, int64_t columns, float* scratch) {
  if (p.columns <= kNarrow && p.a_scale == nullptr) return multiply_narrow(p, scratch);
  const int64_t blocks = depth_blocks(p.depth), depth = (p.depth + blocks - 1) / blocks;
  float* const panel = scratch;
  const bool in_place = p.a_column == 1 && p.a_scale == nullptr;
  float* const packed = in_place ? nullptr : scratch + kProductPanel * kDepthBlock;
  for (int64_t index = 0; index < blocks; ++index) {
    for (int64_t row = 0; row < p.rows; row += kRowBlock) {
      Block block{row, p.rows - row, first_column, columns, index * depth, depth, 0, index == 0, index == blocks - 1};
      if (block.rows > kRowBlock) block.rows = kRowBlock;
      if (block.first + depth > p.depth) block.depth = p.depth - block.first;
      const int64_t dense = p.dense() - block.first;
      block.dense = dense < 0 ? 0 : dense < block.depth ? dense : block.depth;
      if (packed != nullptr) pack_rows(p, block, packed);
      for (int64_t column = first_column; column < first_column + columns; column += kPanel) {
        if (p.packed_b != nullptr) {
          multiply_panel(p, block, column, p.packed_b + column * p.depth + block.first * kPanel, packed);
          continue;
        }
        const int64_t left = first_column + columns - column;
        pack_panel(p, block, column, left < kPanel ? left : kPanel, panel);
        multiply_panel(p, block, column, panel, packed);
      }
    }
  }
}

// Packs columns and a range of the depth of B as `packed_b`: a panel [depth, kPanel] for each kPanel columns.
void pack(const Product& p, int64_t first_column, int64_t columns, int64_t first, int64_t depth, float* packed) {
  Block block{};
  block.first = first;
  block.depth = depth;
  for (int64_t column = first_column; column < first_column + columns; column += kPanel) {
    const int64_t left = first_column + columns - column;
    pack_panel(p, block, column, left < kPanel ? left : kPanel, packed + column * p.depth + first * kPanel);
  }
}

}  // namespace
}  // namespace fastgan
