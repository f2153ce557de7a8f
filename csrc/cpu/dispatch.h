#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace fastgan {

// The instruction sets of this machine, the best last.
std::vector<std::string> instruction_sets();
// Use this one from now on (tests try each); false if the machine lacks it.
bool use_instruction_set(const std::string& name);

}  // namespace fastgan
