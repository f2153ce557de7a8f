// Spans over whole batches: splits rows among threads. As in losses.cpp, partial sums belong to chunks.
#include "spans.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// An element has the arithmetic of several logits.
constexpr int64_t kSpanWork = 4;

int64_t rows_of_chunk(const SpanCall& call) {
  return std::max<int64_t>(kChunk / kSpanWork / call.width / kSpanRows, 1) * kSpanRows;
}

int64_t chunks_of_rows(const SpanCall& call) { return (call.rows + rows_of_chunk(call) - 1) / rows_of_chunk(call); }

// Calls visit(index, chunk) for every chunk.
template <class Visit>
void for_each_chunk(const SpanCall& call, const Visit& visit) {
  const int64_t rows = rows_of_chunk(call);
  int64_t longest = 0;
  for (int64_t i = 0; i < call.tables.count; ++i) longest = std::max<int64_t>(longest, call.tables.spans[3 * i + 1]);
  const int64_t tile = longest * kSpanRows;
  for_each_piece(chunks_of_rows(call), kSpanWork * call.rows * call.width, call.where, [&](int64_t index) {
    std::vector<double> scratch(static_cast<size_t>(2 * tile));  // room for either type
    visit(index, SpanChunk{call, index * rows, std::min(call.rows, (index + 1) * rows), scratch.data(),
                           scratch.data() + tile});
  });
}

}  // namespace

void span_activations(const SpanCall& call, Result entropy) {
  const auto kernel = kernels().span_activations[static_cast<int>(call.dtype)];
  std::vector<double> partials(static_cast<size_t>(chunks_of_rows(call)));
  for_each_chunk(call, [&](int64_t index, const SpanChunk& chunk) { partials[index] = kernel(chunk); });
  if (entropy.at == nullptr) return;
  double sum = 0;
  for (const double partial : partials) sum += partial;
  store_element(entropy.at, entropy.dtype, sum / static_cast<double>(std::max<int64_t>(call.rows, 1)));
}

void span_activations_backward(const SpanCall& call, const SpanGrad& grad) {
  const auto kernel = kernels().span_grads[static_cast<int>(call.dtype)];
  const double of_entropy =
      call.input == nullptr ? 0 : load_scale(grad.of_entropy) / static_cast<double>(std::max<int64_t>(call.rows, 1));
  advise_huge_pages(grad.input, call.rows * call.width * bytes_of(call.dtype));
  for_each_chunk(call, [&](int64_t, const SpanChunk& chunk) { kernel(chunk, grad, of_entropy); });
}

}  // namespace fastgan
