// The L1 reconstruction loss on a GPU: as csrc/cpu/reconstruction.h, over device memory and on a stream.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

struct ReconstructionCall {
  DType dtype;
  const void *x, *y;
  int64_t size;
  void *dx, *dy;  // gradients, or null
  bool mean;      // the sum over `size`
  cudaStream_t stream;
};

// The reduced loss into `loss` (of loss_dtype) and, where there is room for them, gradients times `scale` (null: 1).
cudaError_t reconstruction_loss(const ReconstructionCall& call, Workspace workspace, const void* scale,
                                DType scale_dtype, void* loss, DType loss_dtype);
cudaError_t reconstruction_terms(const ReconstructionCall& call, void* terms);
// Gradients: times the scalar `scale` (null: 1), and times `incoming` (null: 1), one for each element.
cudaError_t reconstruction_backward(const ReconstructionCall& call, const void* incoming, const void* scale,
                                    DType scale_dtype);

}  // namespace fastgan::cuda
