// The inner loops, as a table of functions for one instruction set.
//
// isa.cpp is compiled once for each instruction set and fills one table; dispatch.cpp picks a table
// when the module loads. Every function works on one chunk on one thread: chunks, threads and the
// order of sums belong to losses.cpp and bias_leaky_relu.cpp.
#pragma once

#include "../calls.h"

namespace fastgan {

// Sums over one chunk of logits.
struct LossSums {
  double loss = 0;
  double output = 0;
  double saturated = 0;
};

// What to do with one chunk of logits.
struct LossChunk {
  Loss loss;
  const void* logits;
  int64_t size;
  double label;
  double scale;          // of terms and gradients: the weight, the incoming gradient
  const void* incoming;  // an incoming gradient for each element, or null
  void* output;          // terms or gradients, where the function writes any
};

// Samples x and their reconstructions y.
struct ReconstructionChunk {
  const void *x, *y;
  int64_t size;
  double scale;          // of gradients: 1/N, the incoming gradient
  const void* incoming;  // an incoming gradient for each element, or null
  void *dx, *dy;         // gradients, or null
};

// Rows of features, and the linear layer of one output that makes their logits.
struct HeadChunk {
  Loss loss;
  const void* features;  // [rows, width]
  int64_t rows, width;
  const void* weight;  // [width], of the compute type
  double bias, label;
  double scale;  // of slopes and gradients
  void* slopes;  // d loss / d logit, [rows] of the compute type, or null
  void* grad;    // d loss / d features, or null
  void* sums;    // gradients of the weight and, last, of the bias, added to; of the compute type, or null
};

// c [rows, columns] = a b: of each, rows or columns are contiguous. Then, in this order:
// + bias, leaky_relu, the derivative of the leaky ReLU that gave `output`, and sums over the rows.
struct Product {
  int64_t rows, columns, depth;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row, b_column;
  float* c;
  int64_t c_row;
  const float* bias = nullptr;  // [columns]
  bool activate = false;
  const float* output = nullptr;  // as c
  float* sums = nullptr;          // [columns], added to
  float negative_slope = 1;
  const float* a_scale = nullptr;  // [depth], times the columns of a, whose rows are then one apart
};

struct KernelTable {
  const char* name;
  // One entry a DType.
  LossSums (*loss_sum[4])(const LossChunk&);
  LossSums (*loss_sum_with_stats[4])(const LossChunk&);
  void (*loss_terms[4])(const LossChunk&);
  void (*loss_grad[4])(const LossChunk&);
  LossSums (*loss_sum_and_grad[4])(const LossChunk&);
  LossSums (*loss_sum_and_grad_with_stats[4])(const LossChunk&);

  double (*reconstruction_sum[4])(const ReconstructionChunk&);  // of |x - y|
  void (*reconstruction_terms[4])(const ReconstructionChunk&, void* terms);
  void (*reconstruction_grad[4])(const ReconstructionChunk&);
  double (*reconstruction_sum_and_grad[4])(const ReconstructionChunk&);

  LossSums (*head_rows[4])(const HeadChunk&);       // slopes and grad only where there are sums
  void (*head_grad_rows[4])(const HeadChunk&);      // grad = scale * slopes * weight

  // y = leaky_relu(x + bias); bias may be null, y may be x. rows x channels, channels innermost.
  void (*bias_leaky_relu_rows[4])(const void* x, const void* bias, void* y, int64_t rows, int64_t channels,
                                  double negative_slope);
  // One channel's plane; bias is one element or null.
  void (*bias_leaky_relu_plane[4])(const void* x, const void* bias, void* y, int64_t size, double negative_slope);
  // dx = dy * slope(y); dx may be dy. sums (of the compute type, may be null) receives dx summed over rows.
  void (*leaky_relu_grad_rows[4])(const void* dy, const void* y, void* dx, void* sums, int64_t rows,
                                  int64_t channels, double negative_slope);
  double (*leaky_relu_grad_plane[4])(const void* dy, const void* y, void* dx, int64_t size, double negative_slope);

  // Some of c's columns, from a multiple of kProductPanel on. scratch: (kProductPanel + kRowBlock) * kDepthBlock.
  void (*multiply)(const Product& product, int64_t first_column, int64_t columns, float* scratch);
};

// Elements in a chunk: 64 KiB of floats, which stay in L2 while every function runs over them.
constexpr int64_t kChunk = 16384;
FASTGAN_HD int64_t chunks_of(int64_t size) { return (size + kChunk - 1) / kChunk; }
// Sums that a chunk keeps side by side: the loop over them is the one that vectorizes.
constexpr int64_t kLanes = 64;
// Blocks of a product: a panel of B [kDepthBlock, up to kProductPanel] in L1, A [kRowBlock, kDepthBlock] in L2.
constexpr int64_t kProductPanel = 32;
constexpr int64_t kDepthBlock = 256;
constexpr int64_t kRowBlock = 264;
const KernelTable& kernels();

}  // namespace fastgan
