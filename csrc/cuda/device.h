#pragma once

#include "platform.h"

namespace fastgan::cuda {

// Whether the kernels can run on the current device: an error says why not.
cudaError_t check_device();

// A number of the capture that a stream takes part in, which no other capture has had; 0 for none.
uint64_t capture_id(cudaStream_t stream);

}  // namespace fastgan::cuda
