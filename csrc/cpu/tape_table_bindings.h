#pragma once

#include <pybind11/pybind11.h>

#include "tape.h"

namespace fastgan {

using TapeClass = pybind11::class_<Tape, std::shared_ptr<Tape>>;

// Adds the calls that only steps on tables make.
void bind_tables(TapeClass& tape);

}  // namespace fastgan
