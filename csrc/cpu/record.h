// Ends a training step: records its statistics and loads the next step's settings.
#pragma once

#include "kernels.h"

namespace fastgan {

struct RecordCall {
  const float* const* scalars;
  int columns;            // number of scalars
  float* table;           // [rows, columns], receives the scalars
  int64_t* row;           // row of the table; incremented
  const float* schedule;  // [rows + 1, settings_count]
  int settings_count;
  float* settings;        // [settings_count], receives schedule[row + 1]
  int64_t* clock;         // incremented
};

void record(const RecordCall& call);

}  // namespace fastgan
