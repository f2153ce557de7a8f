#include "vector_norm.h"

#include <cmath>

#include "chunks.h"
#include "../storage.h"

namespace fastgan {
namespace {

// The sum over all tensors of |x|^order.
double sum_of_powers(const Flat* tensors, int count, int order, Where threads) {
  int64_t chunks = 0;
  for (int i = 0; i < count; ++i) chunks += chunks_of(tensors[i].size);
  std::array<double, kFew> few;
  std::vector<double> many;
  double* partials = room_for(chunks, few, many);
  const auto& kernel = order == 1 ? kernels().sum_of_absolutes : kernels().sum_of_squares;
  for_each_chunk_of(count, [&](int i) { return tensors[i].size; }, threads, [&](int64_t index, const Chunk& at) {
    const Flat& tensor = tensors[at.which];
    partials[index] = kernel[static_cast<int>(tensor.dtype)](advance(tensor.x, at.start, tensor.dtype), at.size);
  });
  double sum = 0;
  for (int64_t index = 0; index < chunks; ++index) sum += partials[index];
  return sum;
}

template <class T>
void scale(const T* from, T* to, int64_t first, int64_t last, T factor) {
#pragma omp simd
  for (int64_t i = first; i < last; ++i) to[i] = factor * from[i];
}

}  // namespace

double sum_of_absolutes(const float* x, int64_t size) {
  return kernels().sum_of_absolutes[static_cast<int>(DType::f32)](x, size);
}

double sum_of_squares(const float* x, int64_t size) {
  return kernels().sum_of_squares[static_cast<int>(DType::f32)](x, size);
}

void vector_norm(const Flat& x, int order, Result norm, Where threads) {
  const double sum = sum_of_powers(&x, 1, order, threads);
  store_element(norm.at, norm.dtype, order == 1 ? sum : std::sqrt(sum));
}

double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor > 1 ? 1 : factor;  // nan if the norm is
}

void clip(const Flat* tensors, int count, double max_norm, Where threads) {
  const double factor = clip_factor(std::sqrt(sum_of_powers(tensors, count, 2, threads)), max_norm);
  if (factor == 1) return;
  for_each_chunk_of(count, [&](int i) { return tensors[i].size; }, threads, [&](int64_t, const Chunk& at) {
    const Flat& tensor = tensors[at.which];
    if (tensor.dtype == DType::f64) {
      auto* x = static_cast<double*>(tensor.x);
      scale(x, x, at.start, at.start + at.size, factor);
    } else {
      auto* x = static_cast<float*>(tensor.x);
      scale_range(x, x, at.start, at.start + at.size, static_cast<float>(factor));
    }
  });
}

void scale_range(const float* from, float* to, int64_t first, int64_t last, float factor) {
  scale(from, to, first, last, factor);
}

}  // namespace fastgan
