// Losses over whole tensors: splits them among threads. Partial sums belong to chunks of the input, not to threads,
// and are added in order, so results are the same to the bit for any number of threads.
#include "losses.h"

#include "chunks.h"
#include "huge_pages.h"
#include "../storage.h"

namespace fastgan {
namespace {

// Calls visit(index, chunk) for every chunk.
template <class Visit>
void for_each_chunk(const LossCall& call, const Visit& visit) {
  const double scale = load_scale(call.scale);
  for (int i = 0; i < call.count; ++i)
    if (call.tensors[i].output != nullptr)
      advise_huge_pages(call.tensors[i].output, call.tensors[i].size * bytes_of(call.dtype));
  const auto size_of = [&](int i) { return call.tensors[i].size; };
  for_each_chunk_of(call.count, size_of, call.where, [&](int64_t index, const Chunk& at) {
    const LossTensor& tensor = call.tensors[at.which];
    visit(index, LossChunk{call.loss, advance(tensor.logits, at.start, call.dtype), at.size, tensor.label,
                           tensor.weight * scale, advance(tensor.incoming, at.start, call.dtype),
                           advance(tensor.output, at.start, call.dtype)});
  });
}

}  // namespace

void write_loss(const LossSums* partials, const LossPart* parts, int count, DType dtype, Result total, void* details) {
  double sum = 0, saturated = 0;
  int64_t elements = 0;
  for (int i = 0; i < count; ++i) {
    LossSums sums;
    for (int64_t chunk = 0; chunk < parts[i].chunks; ++chunk, ++partials) {
      sums.loss += partials->loss;
      sums.output += partials->output;
      sums.saturated += partials->saturated;
    }
    sum += parts[i].weight * sums.loss;
    saturated += sums.saturated;
    elements += parts[i].size;
    if (details == nullptr) continue;
    store_element(advance(details, i, dtype), dtype, parts[i].weight * sums.loss);
    store_element(advance(details, count + i, dtype), dtype, sums.output / static_cast<double>(parts[i].size));
  }
  store_element(total.at, total.dtype, sum);
  if (details != nullptr)
    store_element(advance(details, 2 * count, dtype), dtype, saturated / static_cast<double>(elements));
}

void loss_forward(const LossCall& call, Result total, void* details) {
  const bool with_grad = std::any_of(call.tensors, call.tensors + call.count,
                                     [](const LossTensor& tensor) { return tensor.output != nullptr; });
  const auto& table = details == nullptr ? (with_grad ? kernels().loss_sum_and_grad : kernels().loss_sum)
                                         : (with_grad ? kernels().loss_sum_and_grad_with_stats
                                                      : kernels().loss_sum_with_stats);
  const auto kernel = table[static_cast<int>(call.dtype)];
  std::array<LossPart, kFew> few_parts;
  std::vector<LossPart> many_parts;
  LossPart* parts = room_for(call.count, few_parts, many_parts);
  int64_t chunks = 0;
  for (int i = 0; i < call.count; ++i) {
    parts[i] = {call.tensors[i].size, chunks_of(call.tensors[i].size), call.tensors[i].weight};
    chunks += parts[i].chunks;
  }
  std::array<LossSums, kFew> few;
  std::vector<LossSums> many;
  LossSums* partials = room_for(chunks, few, many);
  for_each_chunk(call, [&](int64_t index, const LossChunk& chunk) { partials[index] = kernel(chunk); });
  write_loss(partials, parts, call.count, compute_type(call.dtype), total, details);
}

void loss_terms(const LossCall& call) {
  const auto kernel = kernels().loss_terms[static_cast<int>(call.dtype)];
  for_each_chunk(call, [kernel](int64_t, const LossChunk& chunk) { kernel(chunk); });
}

void loss_backward(const LossCall& call) {
  const auto kernel = kernels().loss_grad[static_cast<int>(call.dtype)];
  for_each_chunk(call, [kernel](int64_t, const LossChunk& chunk) { kernel(chunk); });
}

}  // namespace fastgan
