// tanh, Gumbel-softmax and the cross-entropy of conditions, over the spans of each row, on a stream. There is at least
// one row.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

// The most blocks of a launch, several for each multiprocessor of any GPU; each has a partial sum of the cross-entropy.
constexpr int kSpanPartials = 4 * kMaxRanges;

// With conditions, `entropy` receives the mean cross-entropy, in the compute type; its partial sums, in that type, and
// a counter are the workspace.
cudaError_t span_activations(const SpanCall& call, void* entropy, Workspace workspace);
// dx [rows, width] from the gradient of the output and, if call.input is not null, that of the cross-entropy.
cudaError_t span_activations_backward(const SpanCall& call, Rows grad, Scale grad_entropy, void* dx);

}  // namespace fastgan::cuda
