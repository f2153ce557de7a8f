#include "record.h"

#include <algorithm>

namespace fastgan {

void record(const RecordCall& call) {
  float* to = call.table + *call.row * call.columns;
  for (int i = 0; i < call.columns; ++i) to[i] = *call.scalars[i];
  ++*call.row;
  ++*call.clock;
  std::copy_n(call.schedule + *call.row * call.settings_count, call.settings_count, call.settings);
}

}  // namespace fastgan
