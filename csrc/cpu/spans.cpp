// Spans over whole batches: splits rows among threads. As in losses.cpp, partial sums belong to chunks.
#include "spans.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

constexpr int64_t kSpanWork = 4;  // an element has the arithmetic of several logits

int64_t chunks_of_rows(const SpanCall& call) {
  const int64_t rows = rows_of_entropy(call.width);
  return (call.rows + rows - 1) / rows;
}

// Calls visit(index, chunk) for every chunk of rows first to last - 1.
template <class Visit>
void for_each_chunk(const SpanCall& call, int64_t first, int64_t last, Where threads, const Visit& visit) {
  const int64_t rows = rows_of_entropy(call.width), before = first / rows, end = (last + rows - 1) / rows;
  int64_t longest = 0;
  for (int64_t i = 0; i < call.tables.count; ++i) longest = std::max<int64_t>(longest, call.tables.spans[3 * i + 1]);
  const int64_t tile = longest * kSpanRows;
  for_each_piece(end - before, kSpanWork * (last - first) * call.width, threads, [&](int64_t piece) {
    const int64_t index = before + piece;
    std::vector<double> scratch(static_cast<size_t>(2 * tile));  // room for either type
    visit(index, SpanChunk{call, std::max(first, index * rows), std::min(last, (index + 1) * rows), scratch.data(),
                           scratch.data() + tile});
  });
}

double share_of_rows(const SpanCall& call) { return static_cast<double>(std::max<int64_t>(call.rows, 1)); }

}  // namespace

int64_t rows_of_entropy(int64_t width) {
  return std::clamp<int64_t>(kChunk / kSpanWork / std::max<int64_t>(width, 1) / kSpanRows, 1, 4) * kSpanRows;
}

void span_activations_rows(const SpanCall& call, int64_t first, int64_t last, double* entropies, Where threads) {
  const auto kernel = kernels().span_activations[static_cast<int>(call.dtype)];
  for_each_chunk(call, first, last, threads,
                 [&](int64_t index, const SpanChunk& chunk) {
                   const double entropy = kernel(chunk);
                   if (entropies != nullptr) entropies[index] = entropy;
                 });
}

double mean_entropy(const SpanCall& call, const double* entropies) {
  double sum = 0;
  for (int64_t i = 0; i < chunks_of_rows(call); ++i) sum += entropies[i];
  return sum / share_of_rows(call);
}

void span_activations(const SpanCall& call, Result entropy) {
  std::vector<double> entropies(static_cast<size_t>(chunks_of_rows(call)));
  span_activations_rows(call, 0, call.rows, entropies.data(), call.where);
  if (entropy.at != nullptr) store_element(entropy.at, entropy.dtype, mean_entropy(call, entropies.data()));
}

void span_gradients_rows(const SpanCall& call, const SpanGrad& grad, int64_t first, int64_t last, Where threads) {
  const auto kernel = kernels().span_grads[static_cast<int>(call.dtype)];
  const double of_entropy = call.input == nullptr ? 0 : load_scale(grad.of_entropy) / share_of_rows(call);
  for_each_chunk(call, first, last, threads,
                 [&](int64_t, const SpanChunk& chunk) { kernel(chunk, grad, of_entropy); });
}

void span_activations_backward(const SpanCall& call, const SpanGrad& grad) {
  advise_huge_pages(grad.input, call.rows * call.width * bytes_of(call.dtype));
  span_gradients_rows(call, grad, 0, call.rows, call.where);
}

}  // namespace fastgan
