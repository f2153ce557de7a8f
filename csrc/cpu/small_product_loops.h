// C = A B for matrices so small that a call into a BLAS costs more than the arithmetic. float only.
// Included by isa.cpp alone; internal linkage.
//
// B is packed in panels of two vectors' width, zero-padded, so that any stride of A and B and any width
// run the same inner loop; a tile of kTileRows rows of C stays in registers over the whole depth.
#pragma once

#include "kernels.h"

namespace fastgan {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 8;  // 16 accumulators of 32 registers
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;  // 12 of 16: two more hold B, one holds A
#else
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 4;
#endif
constexpr int kVectorLanes = kVectorBytes / 4;
constexpr int kPanel = 2 * kVectorLanes;
typedef float Vector __attribute__((vector_size(kVectorBytes)));
// Read through this, not by memcpy: of two vectors at once g++ makes four copies of half a vector on the stack,
// from which a whole one cannot be forwarded, and the loop takes five times as long.
typedef float UnalignedVector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));

void pack_panel(const SmallProduct& p, int64_t first, int64_t width, float* panel) {
  const float* row = p.b + first * p.b_column;
  for (int64_t k = 0; k < p.depth; ++k, panel += kPanel, row += p.b_row) {
    if (width == kPanel && p.b_column == 1) {
      memcpy(panel, row, kPanel * sizeof(float));
    } else {
      memset(panel, 0, kPanel * sizeof(float));
      for (int64_t j = 0; j < width; ++j) panel[j] = row[j * p.b_column];
    }
  }
}

// Sums over the depth in blocks: a float sum of thousands of products would lose three bits more.
constexpr int64_t kDepthBlock = 128;

void multiply_tile(const SmallProduct& p, int64_t first_row, const float* panel, Vector (*tile)[2]) {
  const float* rows[kTileRows];
  for (int r = 0; r < kTileRows; ++r) {  // past the end: the last row again, never stored
    const int64_t row = first_row + r < p.rows ? first_row + r : p.rows - 1;
    rows[r] = p.a + row * p.a_row;
  }
  for (int64_t block = 0; block < p.depth; block += kDepthBlock) {
    const int64_t end = block + kDepthBlock < p.depth ? block + kDepthBlock : p.depth;
    Vector sums[kTileRows][2] = {};
    for (int64_t k = block; k < end; ++k, panel += kPanel) {
      const Vector b0 = *reinterpret_cast<const UnalignedVector*>(panel);
      const Vector b1 = *reinterpret_cast<const UnalignedVector*>(panel + kVectorLanes);
      for (int r = 0; r < kTileRows; ++r) {
        const float a = rows[r][k * p.a_column];
        sums[r][0] += a * b0;
        sums[r][1] += a * b1;
      }
    }
    for (int r = 0; r < kTileRows; ++r) {
      tile[r][0] += sums[r][0];
      tile[r][1] += sums[r][1];
    }
  }
}

void small_product(const SmallProduct& p, float* scratch) {
  for (int64_t column = 0; column < p.columns; column += kPanel) {
    const int64_t width = p.columns - column < kPanel ? p.columns - column : kPanel;
    pack_panel(p, column, width, scratch);
    for (int64_t row = 0; row < p.rows; row += kTileRows) {
      Vector sums[kTileRows][2] = {};
      multiply_tile(p, row, scratch, sums);
      float tile[kTileRows][kPanel];
      memcpy(tile, sums, sizeof tile);
      for (int64_t r = 0; r < kTileRows && row + r < p.rows; ++r) {
        float* c = p.c + (row + r) * p.c_row + column;
        if (p.activate) {
          for (int64_t j = 0; j < width; ++j) {
            const float z = tile[r][j] + (p.bias == nullptr ? 0.0f : p.bias[column + j]);
            c[j] = leaky_relu(z, p.negative_slope);
          }
        } else {
          for (int64_t j = 0; j < width; ++j) c[j] = tile[r][j];
        }
      }
    }
  }
}

}  // namespace
}  // namespace fastgan
