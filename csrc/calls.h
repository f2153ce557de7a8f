// What a kernel is asked to do, on a CPU or a GPU. Addresses are the device's; those that may be left out are null.
#pragma once

#include "logit_losses.h"
#include "types.h"

namespace fastgan {

// A scalar that multiplies gradients; null for 1.
struct Scale {
  const void* at;
  DType dtype;
};

// A scalar that a kernel writes.
struct Result {
  void* at;
  DType dtype;
};

// How many threads share a call on a CPU; on a GPU the stream that it joins.
using Where = uintptr_t;

// One tensor of logits, all contiguous, `size` elements each.
struct LossTensor {
  const void* logits;
  int64_t size;
  double label;
  double weight;         // of each term: 1, or 1 / size for a mean
  const void* incoming;  // a gradient for each term, or null
  void* output;          // terms or gradients, or null
};

struct LossCall {
  Loss loss;
  DType dtype;
  const LossTensor* tensors;
  int count;
  Scale scale;  // of gradients
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += tensors[i].size;
    return all;
  }
};

// Samples x and their reconstructions y.
struct ReconstructionCall {
  DType dtype;
  const void *x, *y;
  int64_t size;
  void *dx, *dy;  // gradients, or null
  bool mean;      // the sum over `size`
  Scale scale;    // of gradients
  Where where;
};

// One tensor of features, [rows, width].
struct HeadTensor {
  const void* features;
  int64_t rows;
  double label;
  double weight;  // of each term
  void* slopes;   // d loss / d logit, [rows] of the compute type, or null
  void* grad;     // d loss / d features, [rows, width], or null
};

// The last linear layer of a discriminator, and its loss.
struct HeadCall {
  Loss loss;
  DType dtype;
  const HeadTensor* tensors;
  int count;
  int64_t width;
  const void* weight;  // [width]
  const void* bias;    // one element, or null
  Scale scale;         // of slopes and gradients
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += tensors[i].rows * width;
    return all;
  }
};

// [outer, channels, inner]; channels are innermost where inner is 1.
struct LayerShape {
  DType dtype;
  int64_t outer, channels, inner;
  double negative_slope;
  Where where;
};

}  // namespace fastgan
