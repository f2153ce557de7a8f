#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Whether the kernels can run on the current device: an error says why not.
cudaError_t check_device();

}  // namespace fastgan::cuda
