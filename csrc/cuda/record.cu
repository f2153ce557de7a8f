// One block; each of the first threads copies one scalar. The scalars' addresses are arguments: gathering the scalars
// in a tensor would take another launch.
#include "record.h"

namespace fastgan::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) record_kernel(const RecordCall a) {
  const int64_t row = *a.row;
  const int each = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < kMostScalars; ++i)  // unrolled: arrays indexed at run time would be placed in local memory
    if (each == i && i < a.columns) a.table[row * a.columns + i] = *a.scalars[i];
  for (int i = each; i < a.settings_count; i += kThreads) a.settings[i] = a.schedule[(row + 1) * a.settings_count + i];
  __syncthreads();  // all threads have read a.row
  if (each == 0) {
    *a.row = row + 1;
    *a.clock += 1;
  }
}

}  // namespace

cudaError_t record(const RecordCall& call) {
  FASTGAN_LAUNCH((record_kernel), 1, call.where, call);
  return cudaGetLastError();
}

}  // namespace fastgan::cuda
