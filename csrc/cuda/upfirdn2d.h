// Upsampling, filtering and downsampling of images, on a stream. No output is empty.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kMostFilterTaps = 32;  // along each axis

cudaError_t upfirdn2d(const UpfirdnCall& call);

}  // namespace fastgan::cuda
