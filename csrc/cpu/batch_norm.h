// Batch norm + leaky ReLU over [outer, channels, inner]; inner = 1 if channels are innermost.
#pragma once

#include "kernels.h"

namespace fastgan {

// mean and var [channels] in the compute type: those of x, the variance biased. The running statistics, unless null,
// become (1 - momentum) * running + momentum * batch, with the unbiased variance. No values: zeros, and no update.
void batch_norm_statistics(const LayerShape& shape, const void* x, void* mean, void* var, PerChannel running_mean,
                           PerChannel running_var, double momentum);
// In y and dy, elements with one outer index are adjacent; those of the next are a stride away.
void batch_norm_leaky_relu(const BatchNormCall& call, const void* x, Rows y);
// dx, dweight and dbias may be null. training: mean and var are those of x; otherwise they are constants.
void batch_norm_leaky_relu_backward(const BatchNormCall& call, Rows dy, const void* x, bool training, void* dx,
                                    PerChannel dweight, PerChannel dbias);

// The same for columns first to last - 1 of a float matrix [outer, channels], on this thread, with the results of calls
// for all columns. x and dx are contiguous; no number for each channel is null. batch_norm_columns computes the
// statistics first.
void batch_norm_columns(const BatchNormCall& call, const float* x, Rows y, PerChannel running_mean,
                        PerChannel running_var, double momentum, int64_t first, int64_t last);
void batch_norm_backward_columns(const BatchNormCall& call, Rows dy, const float* x, float* dx, PerChannel dweight,
                                 PerChannel dbias, int64_t first, int64_t last);

}  // namespace fastgan
