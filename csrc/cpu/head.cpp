// The head over whole tensors: splits rows among threads. As in losses.cpp, partial sums belong to chunks.
#include "head.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "losses.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// About kChunk features, but at least 16 rows: a chunk also writes `width` partial sums.
int64_t rows_of_chunk(int64_t width) { return std::clamp<int64_t>(kChunk / std::max<int64_t>(width, 1), 16, 256); }

int64_t chunks_of_rows(int64_t rows, int64_t width) {
  return (rows + rows_of_chunk(width) - 1) / rows_of_chunk(width);
}

// The weight, converted to the compute type.
std::vector<double> computed(const HeadCall& call) {
  const DType compute = compute_type(call.dtype);
  std::vector<double> weight(static_cast<size_t>(call.width));  // room for either type
  for (int64_t i = 0; i < call.width; ++i)
    store_element(advance(weight.data(), i, compute), compute,
                  load_element(advance(call.weight, i, call.dtype), call.dtype));
  return weight;
}

// Calls visit(index, chunk) for every chunk; indices run on from one tensor to the next.
template <class Visit>
void for_each_chunk(const HeadCall& call, const Visit& visit) {
  const DType compute = compute_type(call.dtype);
  const int64_t rows = rows_of_chunk(call.width);
  const std::vector<double> weight = computed(call);
  const double bias = call.bias == nullptr ? 0.0 : load_element(call.bias, call.dtype);
  const double scale = load_scale(call.scale);
  std::vector<int64_t> first;  // index of each tensor's first chunk
  int64_t chunks = 0;
  for (int i = 0; i < call.count; ++i) {
    const HeadTensor& tensor = call.tensors[i];
    if (tensor.grad != nullptr) advise_huge_pages(tensor.grad, tensor.rows * call.width * bytes_of(call.dtype));
    first.push_back(chunks);
    chunks += chunks_of_rows(tensor.rows, call.width);
  }
  for_each_piece(chunks, call.elements(), call.where, [&](int64_t index) {
    const auto which = std::upper_bound(first.begin(), first.end(), index) - first.begin() - 1;
    const HeadTensor& tensor = call.tensors[which];
    const int64_t start = (index - first[static_cast<size_t>(which)]) * rows;
    visit(index, HeadChunk{call.loss, advance(tensor.features, start * call.width, call.dtype),
                           std::min(rows, tensor.rows - start), call.width, weight.data(), bias, tensor.label,
                           tensor.weight * scale, advance(tensor.slopes, start, compute),
                           advance(tensor.grad, start * call.width, call.dtype), nullptr});
  });
}

// sums [size] = the sum of partials [chunks, size] over the chunks, in order.
void add_up(const std::vector<double>& partials, int64_t chunks, int64_t size, DType compute, void* sums) {
  for (int64_t i = 0; i < size; ++i) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      sum += load_element(advance(partials.data(), chunk * size + i, compute), compute);
    store_element(advance(sums, i, compute), compute, sum);
  }
}

}  // namespace

void head_loss(const HeadCall& call, Result total, void* details, void* sums) {
  const DType compute = compute_type(call.dtype);
  const auto kernel = kernels().head_rows[static_cast<int>(call.dtype)];
  const int64_t size = call.width + 1;
  std::vector<LossPart> parts;
  int64_t chunks = 0;
  for (int i = 0; i < call.count; ++i) {
    const HeadTensor& tensor = call.tensors[i];
    parts.push_back({tensor.rows, chunks_of_rows(tensor.rows, call.width), tensor.weight});
    chunks += parts.back().chunks;
  }
  std::vector<LossSums> partials(static_cast<size_t>(chunks));
  std::vector<double> partial_sums(sums == nullptr ? 0 : static_cast<size_t>(chunks * size));
  for_each_chunk(call, [&](int64_t index, HeadChunk chunk) {
    if (sums != nullptr) chunk.sums = advance(partial_sums.data(), index * size, compute);
    partials[static_cast<size_t>(index)] = kernel(chunk);
  });
  if (sums != nullptr) add_up(partial_sums, chunks, size, compute, sums);
  write_loss(partials.data(), parts.data(), call.count, compute, total, details);
}

void head_grad(const HeadCall& call) {
  const auto kernel = kernels().head_grad_rows[static_cast<int>(call.dtype)];
  for_each_chunk(call, [kernel](int64_t, const HeadChunk& chunk) { kernel(chunk); });
}

}  // namespace fastgan
