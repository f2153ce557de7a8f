// All random numbers of a step in one launch, by Philox 4x32-10 (Salmon et al., 2011).
#pragma once

#include "platform.h"

namespace fastgan::cuda {

// call.begins are multiples of 4.
cudaError_t draw(const DrawCall& call);

}  // namespace fastgan::cuda
