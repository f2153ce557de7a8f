#pragma once

#include "platform.h"

namespace fastgan::cuda {

// cudaSuccess if the kernels can run on the current device, else the reason.
cudaError_t check_device();

}  // namespace fastgan::cuda
