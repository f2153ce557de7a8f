// L1 distances over whole tensors. As in losses.cpp, partial sums belong to chunks.
#include "l1.h"

#include "chunks.h"
#include "huge_pages.h"
#include "../storage.h"

namespace fastgan {
namespace {

// Gradients beyond this size leave the caches before anyone reads them.
constexpr int64_t kCacheBytes = int64_t{1} << 25;

// Whether to write gradients past the caches.
bool streams(const L1Call& call) {
  int64_t bytes = 0;
  for (int i = 0; i < call.count; ++i)
    for (const void* output : {call.pairs[i].dx, call.pairs[i].dy}) {
      if (reinterpret_cast<uintptr_t>(output) % 16 != 0) return false;
      if (output != nullptr) bytes += call.pairs[i].size * bytes_of(call.dtype);
    }
  return bytes > kCacheBytes;
}

template <class Visit>
void for_each_chunk(const L1Call& call, const Visit& visit, bool from_the_end = false) {
  const double scale = load_scale(call.scale);
  const bool streamed = streams(call);
  for (int i = 0; i < call.count; ++i)
    for (void* output : {call.pairs[i].dx, call.pairs[i].dy})
      if (output != nullptr) advise_huge_pages(output, call.pairs[i].size * bytes_of(call.dtype));
  const auto size_of = [&](int i) { return call.pairs[i].size; };
  const auto visit_at = [&](int64_t index, const Chunk& at) {
    const L1Pair& pair = call.pairs[at.which];
    const auto from = [&](auto* address) { return advance(address, at.start, call.dtype); };
    visit(index, at,
          L1Chunk{from(pair.x), from(pair.y), at.size, pair.weight * scale, from(pair.incoming), from(pair.dx),
                  from(pair.dy), streamed});
  };
  for_each_chunk_of(call.count, size_of, call.where, visit_at, from_the_end);
}

bool has_gradients(const L1Call& call) {
  return std::any_of(call.pairs, call.pairs + call.count,
                     [](const L1Pair& pair) { return pair.dx != nullptr || pair.dy != nullptr; });
}

}  // namespace

void l1_loss(const L1Call& call, Result loss) {
  const auto& table = has_gradients(call) ? kernels().l1_sum_and_grad : kernels().l1_sum;
  const auto kernel = table[static_cast<int>(call.dtype)];
  int64_t chunks = 0;
  for (int i = 0; i < call.count; ++i) chunks += chunks_of(call.pairs[i].size);
  std::array<double, kFew> few;
  std::vector<double> many;
  double* partials = room_for(chunks, few, many);
  for_each_chunk(call, [&](int64_t index, const Chunk&, const L1Chunk& chunk) { partials[index] = kernel(chunk); });
  double total = 0;
  for (int i = 0; i < call.count; ++i) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks_of(call.pairs[i].size); ++chunk, ++partials) sum += *partials;
    total += call.pairs[i].weight * sum;  // nan for the mean of an empty tensor, as in PyTorch
  }
  store_element(loss.at, loss.dtype, total);
}

void l1_terms(const L1Call& call, void* terms) {
  const auto kernel = kernels().l1_terms[static_cast<int>(call.dtype)];
  advise_huge_pages(terms, call.elements() * bytes_of(call.dtype));
  for_each_chunk(call, [&](int64_t, const Chunk& at, const L1Chunk& chunk) {
    kernel(chunk, advance(terms, at.start, call.dtype));
  });
}

void l1_backward(const L1Call& call) {
  const auto kernel = kernels().l1_grad[static_cast<int>(call.dtype)];
  for_each_chunk(call, [kernel](int64_t, const Chunk&, const L1Chunk& chunk) { kernel(chunk); }, true);
}

}  // namespace fastgan
