// The discriminator's head on a GPU: as csrc/cpu/head.h, over device memory and on a stream.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

struct HeadTensor {
  const void* features;  // [rows, width]
  int64_t rows;
  double label;
  void* slopes;  // d loss / d logit, [rows] of the compute type, or null
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
  bool mean;
  cudaStream_t stream;
};

// Room for sums of blocks, in elements of the compute type, and for counters that are zero between calls.
struct HeadWorkspace {
  int64_t sums, counters;
};
HeadWorkspace head_workspace(const HeadCall& call);

// Slopes and gradients are multiplied by the scalar `scale` (null: 1). dw [width] and db [1], of dtype grads_dtype,
// are the gradients of weight and bias, or null.
cudaError_t head_loss(const HeadCall& call, void* sums, unsigned* counters, const void* scale, DType scale_dtype,
                      void* loss, DType loss_dtype, float* stats, void* dw, void* db, DType grads_dtype);
// grad [rows, width] = scale * slopes * weight.
cudaError_t head_grad(const HeadCall& call, const void* scale, DType scale_dtype);

}  // namespace fastgan::cuda
