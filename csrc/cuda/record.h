// The end of a training step: its statistics are written down, and the next step's settings come into force.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kMostScalars = 8;

struct RecordCall {
  const float* scalars[kMostScalars];
  int columns;            // how many scalars there are
  float* table;           // [rows, columns]
  int64_t* row;           // the scalars' row; moves on by one
  const float* schedule;  // [rows + 1, settings]
  int settings_count;
  float* settings;        // [settings]: becomes the schedule's next row
  int64_t* clock;         // moves on by one
  Where where;
};

cudaError_t record(const RecordCall& call);

}  // namespace fastgan::cuda
