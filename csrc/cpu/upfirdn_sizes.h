// Sizes of the arrays with which a tile of an image is resampled.
#pragma once

#include "kernels.h"
#include "../storage.h"

namespace fastgan {
namespace {

// The quotient, rounded up; divisor > 0.
FASTGAN_HD int64_t divided_up(int64_t value, int64_t divisor) {
  const int64_t quotient = value / divisor;
  return quotient + (quotient * divisor < value);
}

// The value, moved into [first, end].
FASTGAN_HD int64_t within(int64_t value, int64_t first, int64_t end) {
  return value < first ? first : value > end ? end : value;
}

// Of the arrays for a group of lines, in elements; but `length` and `span` are in pixels.
struct UpfirdnSizes {
  int64_t length;  // of a line in a slot
  int64_t span;    // of a line of inputs
  int64_t slot;    // all lines, rounded up to whole cache lines
  int64_t wide;    // all lines of inputs, likewise
  int64_t row;     // all lines of outputs
  int64_t kept;    // rows in the ring; 0 if the input is read in place
  int64_t kept_row;
  int slots;

  UpfirdnSizes(const UpfirdnPlan& plan, int64_t planes, int64_t rows, int64_t columns, int64_t channels)
      : slots(plan.slots) {
    const UpfirdnCall& call = plan.call;
    length = divided_up(columns, plan.phases) + plan.most_shift;
    span = plan.step * length;
    const auto lines = [&](int64_t count, int64_t pixels) { return divided_up(count * pixels * channels, 16) * 16; };
    slot = lines(planes * rows, length);
    wide = lines(planes * rows, span);
    row = plan.phases * slot;
    const bool is_in_place = plan.down_first && compute_type(call.dtype) == call.dtype;
    kept = is_in_place ? 0 : ((rows - 1) * call.down_y + call.filter_height - 1) / call.up_y + 1;
    kept_row = plan.down_first ? lines(planes, span) : plan.down == nullptr ? slots * slot : plan.phases * slot;
  }
  int64_t scratch() const { return kept * kept_row + slots * slot + row + slot + wide; }
};

}  // namespace
}  // namespace fastgan
