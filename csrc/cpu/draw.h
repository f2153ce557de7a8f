// Random numbers by counter (Philox 4x32-10: Salmon et al., 2011) over whole arrays.
#pragma once

#include "kernels.h"

namespace fastgan {

void draw(const DrawCall& call);

}  // namespace fastgan
