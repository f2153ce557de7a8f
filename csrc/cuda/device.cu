#include "device.h"

namespace fastgan::cuda {
namespace {

__global__ void any_kernel() {}

}  // namespace

cudaError_t check_device() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, any_kernel);
  cudaGetLastError();  // clear the error, or PyTorch would report it
  return error;
}

}  // namespace fastgan::cuda
