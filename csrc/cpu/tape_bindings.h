#pragma once

#include <pybind11/pybind11.h>

namespace fastgan {

void bind_tape(pybind11::module_& module);

}  // namespace fastgan
