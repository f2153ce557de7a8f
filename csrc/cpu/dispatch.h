#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace fastgan {

// The instruction sets this machine can run, from the least to the best.
std::vector<std::string> instruction_sets();
// Serve from that one from now on (tests run each); false where the machine lacks it.
bool use_instruction_set(const std::string& name);

}  // namespace fastgan
