// The discriminator's head over whole arrays: logits t = features weight + bias, their loss as in losses.h,
// and its gradients, in one pass over the features.
#pragma once

#include "kernels.h"

namespace fastgan {

struct HeadTensor {
  const void* features;  // [rows, width]
  int64_t rows;
  double label;
  void* slopes;  // d loss / d t, [rows] of the compute type, or null
  void* grad;    // d loss / d features, or null
};

struct HeadCall {
  DType dtype;
  HeadTensor tensors[2];  // an absent second one has no rows
  int count;
  int64_t width;
  const void* weight;  // [width]
  const void* bias;    // one element, or null
  double sign;
  bool mean;  // each tensor's sum over its own rows
  int threads;

  int64_t elements() const { return (tensors[0].rows + tensors[1].rows) * width; }
};

// Slopes and gradients are multiplied by the scalar `scale` (null: 1). `sums`, of the compute type, receives the
// gradients of the weight and, last, of the bias: [width + 1], or null.
void head_loss(const HeadCall& call, const void* scale, DType scale_dtype, void* loss, DType loss_dtype, float* stats,
               void* sums);
// grad [rows, width] = scale * slopes * weight.
void head_grad(const HeadCall& call, const void* scale, DType scale_dtype);

}  // namespace fastgan
