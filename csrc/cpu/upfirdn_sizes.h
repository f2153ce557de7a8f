// Sizes of the arrays with which a tile of an image is resampled.
#pragma once

#include "kernels.h"

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

// In elements, but for `length`, which is in pixels.
struct UpfirdnSizes {
  int64_t sums;    // outputs of a phase, with those between two planes
  int64_t length;  // of a plane in a slot
  int64_t slot;    // all planes, rounded up to whole cache lines
  int64_t row;     // of outputs
  int64_t kept;    // rows that a row of outputs needs
  int slots;
  bool separable;

  UpfirdnSizes(const UpfirdnPlan& plan, int64_t planes, int64_t columns, int64_t channels)
      : slots(plan.slots), separable(plan.down != nullptr) {
    const int64_t outputs = divided_up(columns, plan.phases);
    length = outputs + plan.most_shift;
    sums = (planes - 1) * length + outputs;
    slot = divided_up(planes * length * channels, 16) * 16;
    row = plan.phases * slot;
    kept = divided_up(plan.call.filter_height, plan.call.up_y);
  }
  int64_t split_row() const { return slots * slot; }
  int64_t kept_row() const { return separable ? row : split_row(); }
  int64_t scratch() const { return kept * kept_row() + split_row() + 2 * (row + slot); }
};

}  // namespace
}  // namespace fastgan
