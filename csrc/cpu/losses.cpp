// Chunks, threads and the order of sums. A partial sum belongs to a chunk of the input, never to a
// thread, and the partials are added in order: the same bits for any number of threads.
#include "losses.h"

#include <vector>

#include "huge_pages.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// Calls visit(index, chunk) for every chunk of every tensor; indices run through both.
template <class Visit>
void for_each_chunk(const LossCall& call, double scalar, const Visit& visit) {
  const int64_t first = chunks_of(call.tensors[0].size);
  const int64_t all = first + chunks_of(call.tensors[1].size);
  for (const LossTensor& tensor : call.tensors)
    if (tensor.output != nullptr) advise_huge_pages(tensor.output, tensor.size * bytes_of(call.dtype));
  for_each_piece(all, call.elements(), call.threads, [&](int64_t index) {
    const LossTensor& tensor = call.tensors[index < first ? 0 : 1];
    const int64_t start = (index < first ? index : index - first) * kChunk;
    const int64_t size = tensor.size - start < kChunk ? tensor.size - start : kChunk;
    const double scale = call.sign * scalar / (call.mean ? static_cast<double>(tensor.size) : 1.0);
    visit(index, LossChunk{call.loss, advance(tensor.logits, start, call.dtype), size, tensor.label, scale,
                           advance(tensor.incoming, start, call.dtype), advance(tensor.output, start, call.dtype)});
  });
}

// Runs `kernel` on every chunk and adds its sums up.
void reduce(const LossCall& call, double scalar, LossSums (*kernel)(const LossChunk&), void* loss, DType loss_dtype,
            float* stats) {
  const int64_t first = chunks_of(call.tensors[0].size);
  LossSums few[2];  // small inputs need no allocation
  std::vector<LossSums> many;
  LossSums* partials = few;
  const int64_t all = first + chunks_of(call.tensors[1].size);
  if (all > 2) {
    many.resize(static_cast<size_t>(all));
    partials = many.data();
  }
  for_each_chunk(call, scalar, [&](int64_t index, const LossChunk& chunk) { partials[index] = kernel(chunk); });

  write_loss(partials, first, all, call.tensors[0].size, call.tensors[1].size, call.count, call.sign, call.mean, loss,
             loss_dtype, stats);
}

}  // namespace

void write_loss(const LossSums* partials, int64_t first, int64_t all, int64_t size_first, int64_t size_second, int count,
                double sign, bool mean, void* loss, DType loss_dtype, float* stats) {
  double total = 0, saturated = 0;
  for (int which = 0; which < count; ++which) {
    const auto size = static_cast<double>(which == 0 ? size_first : size_second);
    LossSums sums;
    for (int64_t index = which == 0 ? 0 : first; index < (which == 0 ? first : all); ++index) {
      sums.loss += partials[index].loss;
      sums.output += partials[index].output;
      sums.saturated += partials[index].saturated;
    }
    total += mean ? sums.loss / size : sums.loss;  // the mean of nothing is nan, as in PyTorch
    saturated += sums.saturated;
    if (stats != nullptr) stats[which] = static_cast<float>(sums.output / size);
  }
  store_element(loss, loss_dtype, sign * total);
  if (stats != nullptr) stats[count] = static_cast<float>(saturated / static_cast<double>(size_first + size_second));
}

void loss_forward(const LossCall& call, void* loss, DType loss_dtype, float* stats) {
  const auto& table = stats == nullptr ? kernels().loss_sum : kernels().loss_sum_with_stats;
  reduce(call, 1.0, table[static_cast<int>(call.dtype)], loss, loss_dtype, stats);
}

void loss_terms(const LossCall& call) {
  const auto kernel = kernels().loss_terms[static_cast<int>(call.dtype)];
  for_each_chunk(call, 1.0, [kernel](int64_t, const LossChunk& chunk) { kernel(chunk); });
}

void loss_backward(const LossCall& call, const void* incoming, DType incoming_dtype, bool are_for_one) {
  const double scalar = load_scale(incoming, incoming_dtype);
  if (are_for_one && scalar == 1.0) return;
  const auto kernel = kernels().loss_grad[static_cast<int>(call.dtype)];
  for_each_chunk(call, scalar, [kernel](int64_t, const LossChunk& chunk) { kernel(chunk); });
}

void loss_forward_backward(const LossCall& call, const void* incoming, DType incoming_dtype, void* loss,
                           DType loss_dtype, float* stats) {
  const auto& table = stats == nullptr ? kernels().loss_sum_and_grad : kernels().loss_sum_and_grad_with_stats;
  reduce(call, load_scale(incoming, incoming_dtype), table[static_cast<int>(call.dtype)], loss, loss_dtype, stats);
}

}  // namespace fastgan
