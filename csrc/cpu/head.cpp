// Chunks of rows, threads and the order of sums: as in losses.cpp, a partial sum belongs to a chunk.
#include "head.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "losses.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

// Rows of a chunk: about kChunk features, but enough rows that its sums of `width` are few beside them.
int64_t rows_of_chunk(int64_t width) { return std::clamp<int64_t>(kChunk / std::max<int64_t>(width, 1), 16, 256); }

DType compute_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

// The weight in the compute type.
std::vector<double> computed(const HeadCall& call) {
  const DType compute = compute_type(call.dtype);
  std::vector<double> weight(static_cast<size_t>(call.width));  // room for either type
  for (int64_t i = 0; i < call.width; ++i)
    store_element(advance(weight.data(), i, compute), compute,
                  load_element(advance(call.weight, i, call.dtype), call.dtype));
  return weight;
}

// Calls visit(index, chunk) for every chunk of every tensor; indices run through both.
template <class Visit>
void for_each_chunk(const HeadCall& call, double scalar, const Visit& visit) {
  const DType compute = compute_type(call.dtype);
  const int64_t rows = rows_of_chunk(call.width);
  const std::vector<double> weight = computed(call);
  const double bias = call.bias == nullptr ? 0.0 : load_element(call.bias, call.dtype);
  const int64_t first = (call.tensors[0].rows + rows - 1) / rows;
  const int64_t all = first + (call.tensors[1].rows + rows - 1) / rows;
  for (const HeadTensor& tensor : call.tensors)
    if (tensor.grad != nullptr) advise_huge_pages(tensor.grad, tensor.rows * call.width * bytes_of(call.dtype));
  for_each_piece(all, call.elements(), call.threads, [&](int64_t index) {
    const HeadTensor& tensor = call.tensors[index < first ? 0 : 1];
    const int64_t start = (index < first ? index : index - first) * rows;
    const double scale = call.sign * scalar / (call.mean ? static_cast<double>(tensor.rows) : 1.0);
    visit(index, HeadChunk{advance(tensor.features, start * call.width, call.dtype),
                           std::min(rows, tensor.rows - start), call.width, weight.data(), bias, tensor.label, scale,
                           advance(tensor.slopes, start, compute),
                           advance(tensor.grad, start * call.width, call.dtype), nullptr});
  });
}

// sums [width + 1] = the partial ones of every chunk, in order.
void add_up(const std::vector<double>& partials, int64_t chunks, int64_t size, DType compute, void* sums) {
  for (int64_t i = 0; i < size; ++i) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      sum += load_element(advance(partials.data(), chunk * size + i, compute), compute);
    store_element(advance(sums, i, compute), compute, sum);
  }
}

}  // namespace

void head_loss(const HeadCall& call, const void* scale, DType scale_dtype, void* loss, DType loss_dtype, float* stats,
               void* sums) {
  const DType compute = compute_type(call.dtype);
  const auto kernel = kernels().head_rows[static_cast<int>(call.dtype)];
  const int64_t rows = rows_of_chunk(call.width), size = call.width + 1;
  const int64_t first = (call.tensors[0].rows + rows - 1) / rows;
  const int64_t all = first + (call.tensors[1].rows + rows - 1) / rows;
  std::vector<LossSums> partials(static_cast<size_t>(all));
  std::vector<double> partial_sums(sums == nullptr ? 0 : static_cast<size_t>(all * size));
  for_each_chunk(call, load_scale(scale, scale_dtype), [&](int64_t index, HeadChunk chunk) {
    if (sums != nullptr) chunk.sums = advance(partial_sums.data(), index * size, compute);
    partials[static_cast<size_t>(index)] = kernel(chunk);
  });
  if (sums != nullptr) add_up(partial_sums, all, size, compute, sums);
  write_loss(partials.data(), first, all, call.tensors[0].rows, call.tensors[1].rows, call.count, call.sign, call.mean,
             loss, loss_dtype, stats);
}

void head_grad(const HeadCall& call, const void* scale, DType scale_dtype) {
  const auto kernel = kernels().head_grad_rows[static_cast<int>(call.dtype)];
  for_each_chunk(call, load_element(scale, scale_dtype), [kernel](int64_t, const HeadChunk& chunk) { kernel(chunk); });
}

}  // namespace fastgan
