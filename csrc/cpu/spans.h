// tanh, Gumbel-softmax and the cross-entropy of conditions over the rows of an output layer.
#pragma once

#include "kernels.h"

namespace fastgan {

// entropy: receives the mean over rows of the cross-entropy; not written if null.
void span_activations(const SpanCall& call, Result entropy);
void span_activations_backward(const SpanCall& call, const SpanGrad& grad);

// The same for rows first to last - 1; for activations, first is a multiple of rows_of_entropy(width).
// entropies: [rows / rows_of_entropy(width), rounded up], sums of the cross-entropies of so many rows; or null.
void span_activations_rows(const SpanCall& call, int64_t first, int64_t last, double* entropies, Where threads);
void span_gradients_rows(const SpanCall& call, const SpanGrad& grad, int64_t first, int64_t last, Where threads);
int64_t rows_of_entropy(int64_t width);
double mean_entropy(const SpanCall& call, const double* entropies);

}  // namespace fastgan
