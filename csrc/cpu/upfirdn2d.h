#pragma once

#include "../calls.h"

namespace fastgan {

// Filters have 1 to 32 taps along each axis; the output is not empty along an axis of the image.
void upfirdn2d(const UpfirdnCall& call);

}  // namespace fastgan
