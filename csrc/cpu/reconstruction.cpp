// The reconstruction loss over whole tensors: splits them among threads. As in losses.cpp, partial sums belong to
// chunks.
#include "reconstruction.h"

#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

template <class Visit>
void for_each_chunk(const ReconstructionCall& call, const void* incoming, const Visit& visit) {
  const double scale = load_scale(call.scale) / (call.mean ? static_cast<double>(call.size) : 1.0);
  for (void* output : {call.dx, call.dy})
    if (output != nullptr) advise_huge_pages(output, call.size * bytes_of(call.dtype));
  for_each_piece(chunks_of(call.size), call.size, call.where, [&](int64_t index) {
    const int64_t start = index * kChunk;
    const int64_t size = call.size - start < kChunk ? call.size - start : kChunk;
    const ReconstructionChunk chunk{advance(call.x, start, call.dtype), advance(call.y, start, call.dtype), size, scale,
                                    advance(incoming, start, call.dtype), advance(call.dx, start, call.dtype),
                                    advance(call.dy, start, call.dtype)};
    visit(index, chunk, start);
  });
}

}  // namespace

void reconstruction_loss(const ReconstructionCall& call, Result loss) {
  const bool with_grad = call.dx != nullptr || call.dy != nullptr;
  const auto& table = with_grad ? kernels().reconstruction_sum_and_grad : kernels().reconstruction_sum;
  const auto kernel = table[static_cast<int>(call.dtype)];
  double one = 0;  // small inputs need no allocation
  std::vector<double> many;
  double* partials = &one;
  const int64_t chunks = chunks_of(call.size);
  if (chunks > 1) {
    many.resize(static_cast<size_t>(chunks));
    partials = many.data();
  }
  for_each_chunk(call, nullptr,
                 [&](int64_t index, const ReconstructionChunk& chunk, int64_t) { partials[index] = kernel(chunk); });
  double total = 0;
  for (int64_t index = 0; index < chunks; ++index) total += partials[index];
  // the mean of an empty tensor is nan, as in PyTorch
  store_element(loss.at, loss.dtype, call.mean ? total / static_cast<double>(call.size) : total);
}

void reconstruction_terms(const ReconstructionCall& call, void* terms) {
  const auto kernel = kernels().reconstruction_terms[static_cast<int>(call.dtype)];
  advise_huge_pages(terms, call.size * bytes_of(call.dtype));
  for_each_chunk(call, nullptr, [&](int64_t, const ReconstructionChunk& chunk, int64_t start) {
    kernel(chunk, advance(terms, start, call.dtype));
  });
}

void reconstruction_backward(const ReconstructionCall& call, const void* incoming) {
  const auto kernel = kernels().reconstruction_grad[static_cast<int>(call.dtype)];
  for_each_chunk(call, incoming,
                 [kernel](int64_t, const ReconstructionChunk& chunk, int64_t) { kernel(chunk); });
}

}  // namespace fastgan
