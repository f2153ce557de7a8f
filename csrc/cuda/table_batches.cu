// A group of threads has a row of the batch: it fills the row with zeros, draws the row of the table, which takes a few
// loads one after the other, and, after a barrier, writes the values and the ones, a thread for each span.
#include "table_batches.h"

namespace fastgan::cuda {
namespace {

__device__ int64_t clamped(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

// floor(share * count), below count; 0 for nan.
__device__ int64_t drawn_from(float share, int64_t count) {
  const double at = static_cast<double>(share) * static_cast<double>(count);
  if (!(at > 0)) return 0;
  return at < static_cast<double>(count) ? static_cast<int64_t>(at) : count - 1;
}

__global__ void __launch_bounds__(kThreads)
    draw_conditions_kernel(const float* uniform, int64_t count, const double* cumulative, int64_t conditions,
                           int64_t* drawn) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= count) return;
  const double share = static_cast<double>(uniform[at]);
  int64_t first = 0, last = conditions - 1;  // the result is one of these, or between them
  while (first < last) {
    const int64_t middle = (first + last) / 2;
    if (cumulative[middle] > share)
      last = middle;
    else
      first = middle + 1;
  }
  drawn[at] = first;
}

// Condition and row of the table of one row of the batch; without conditions the condition is -1.
struct Drawn {
  int64_t condition, row;
};

__device__ Drawn draw_row(const TableCall& a, int64_t order_size, int64_t at) {
  if (a.conditions == nullptr) return {-1, drawn_from(a.uniform[at], a.rows)};
  const int64_t condition = clamped(a.conditions[at], 0, a.tables.conditions - 1);
  const int64_t first = clamped(a.starts[condition], 0, order_size);
  const int64_t stop = clamped(a.starts[condition + 1], 0, order_size);
  const int64_t place = clamped(first + drawn_from(a.uniform[at], stop - first), 0, order_size - 1);
  return {condition, clamped(a.order[place], 0, a.rows - 1)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    table_batch_kernel(const __grid_constant__ TableCall a, int64_t order_size, int across) {
  const int x = static_cast<int>(threadIdx.x) % across;
  const int64_t at = int64_t{blockIdx.x} * (kThreads / across) + static_cast<int>(threadIdx.x) / across;
  const bool is_inside = at < a.batch;
  T* const into = static_cast<T*>(a.into.at) + at * a.into.stride;
  const int columns = static_cast<int>(a.width + (a.conditions == nullptr ? 0 : a.tables.conditions));
  for (int column = x; is_inside && column < columns; column += across) into[column] = T(0);
  const Drawn drawn = is_inside ? draw_row(a, order_size, at) : Drawn{-1, 0};
  __syncthreads();  // the ones overwrite zeros of other threads
  if (!is_inside) return;
  const int32_t* const codes = a.codes + drawn.row * a.num_codes;
  const float* const values = a.values + drawn.row * a.num_values;
  const int count = static_cast<int>(a.tables.count);
  for (int which = x; which < count; which += across) {
    const int32_t* const span = a.tables.spans + 3 * which;
    if (span[1] == 1)
      into[span[0]] = static_cast<T>(values[span[2]]);
    else
      into[span[0] + clamped(codes[span[2]], 0, span[1] - 1)] = T(1);
  }
  if (x == 0 && drawn.condition >= 0) into[a.width + drawn.condition] = T(1);
}

}  // namespace

cudaError_t draw_conditions(const float* uniform, int64_t count, const double* cumulative, int64_t conditions,
                            int64_t* drawn, Where where) {
  FASTGAN_LAUNCH((draw_conditions_kernel), ceil_div(count, kThreads), where, uniform, count, cumulative, conditions,
                 drawn);
  return cudaGetLastError();
}

cudaError_t table_batch(const TableCall& call, int64_t order_size) {
  int across = 32;
  while (across < kThreads && across < call.width) across *= 2;
  const int64_t blocks = ceil_div(call.batch, kThreads / across);
  if (call.dtype == DType::f64)
    FASTGAN_LAUNCH((table_batch_kernel<double>), blocks, call.where, call, order_size, across);
  else
    FASTGAN_LAUNCH((table_batch_kernel<float>), blocks, call.where, call, order_size, across);
  return cudaGetLastError();
}

}  // namespace fastgan::cuda
