// tanh, Gumbel-softmax and the cross-entropy of conditions over the rows of an output layer.
#pragma once

#include "kernels.h"

namespace fastgan {

// entropy: receives the mean over rows of the cross-entropy; not written if null.
void span_activations(const SpanCall& call, Result entropy);
void span_activations_backward(const SpanCall& call, const SpanGrad& grad);

}  // namespace fastgan
