// Upsampling, filtering and downsampling of whole images: splits them into tiles for threads. No result depends on the
// tile in which it is computed.
#include "upfirdn2d.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "huge_pages.h"
#include "kernels.h"
#include "parallel.h"
#include "upfirdn_sizes.h"
#include "../storage.h"

namespace fastgan {
namespace {

using Taps = std::vector<double>;

// The taps of a correlation.
Taps taps_of(const UpfirdnCall& call) {
  Taps taps(static_cast<size_t>(call.filter_width) * (call.separable ? 1 : call.filter_height));
  for (size_t i = 0; i < taps.size(); ++i)
    taps[i] = load_element(advance(call.filter, static_cast<int64_t>(i), call.filter_dtype), call.filter_dtype);
  if (!call.flip) std::reverse(taps.begin(), taps.end());
  return taps;
}

// taps times along, divided by the square of along's norm: for a given vector, the best other one of an outer product.
Taps projected(const Taps& taps, const Taps& along, int size, int row_stride, int stride) {
  Taps to(static_cast<size_t>(size));
  const double square = std::inner_product(along.begin(), along.end(), along.begin(), 0.0);
  for (int i = 0; i < size; ++i) {
    double sum = 0;
    for (size_t j = 0; j < along.size(); ++j) sum += taps[i * row_stride + j * stride] * along[j];
    to[i] = sum / square;
  }
  return to;
}

// Whether taps [height, width] are down [height] times across [width], up to two roundings of each tap to the compute
// type: as much as an outer product that was normalized has. Then the passes along both axes are as exact as one, with
// fewer products. down_first: as in UpfirdnPlan.
bool is_outer_product(const UpfirdnCall& call, bool down_first, const Taps& taps, Taps& down, Taps& across) {
  const int height = call.filter_height, width = call.filter_width;
  const auto is_smaller = [](double a, double b) { return std::abs(a) < std::abs(b); };
  const auto largest = std::max_element(taps.begin(), taps.end(), is_smaller);
  const auto row = taps.begin() + (largest - taps.begin()) / width * width;
  across.assign(row, row + width);
  down = projected(taps, across, height, width, 1);
  across = projected(taps, down, width, 1, width);
  const double tolerance = call.dtype == DType::f64 ? 0x1p-51 : 0x1p-22;
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j) {
      const double tap = taps[i * width + j];
      if (!(std::abs(down[i] * across[j] - tap) <= tolerance * std::abs(tap))) return false;
    }
  // The first pass must not overflow where the result does not. A power of two rounds nothing.
  Taps &first = down_first ? down : across, &second = down_first ? across : down;
  double gain = 0;
  for (const double tap : first) gain += std::abs(tap);
  int exponent = 0;
  std::frexp(gain, &exponent);
  for (double& tap : first) tap = std::ldexp(tap, -exponent);
  for (double& tap : second) tap = std::ldexp(tap, exponent);
  return true;
}

// The taps of a plan, in the compute type.
template <class A>
struct PlanTaps {
  std::vector<A> across, down;
  PlanTaps(const UpfirdnCall& call, bool down_first) {
    const Taps taps = taps_of(call);
    Taps rows = taps, columns = taps;
    const bool is_separable = call.separable || is_outer_product(call, down_first, taps, columns, rows);
    if (!is_separable) {
      columns.clear();
      rows = taps;
    }
    for (double& tap : is_separable && !down_first ? columns : rows) tap *= call.gain;
    across.assign(rows.begin(), rows.end());
    down.assign(columns.begin(), columns.end());
  }
};

// Fills first_taps, to which the plan points, and the places of all taps.
void place_taps(UpfirdnPlan& plan, std::vector<int>& first_taps) {
  const UpfirdnCall& call = plan.call;
  const int64_t start = divided_up(-call.left, call.up_x);
  for (int64_t p = 0; p < plan.phases; ++p) {
    const int64_t position = p * call.down_x - call.left, column = divided_up(position, call.up_x);
    first_taps.push_back(static_cast<int>(column * call.up_x - position));
    for (int64_t k = first_taps.back(), from = column - start; k < call.filter_width; k += call.up_x, ++from) {
      int64_t* const end = plan.residue + plan.slots;
      int64_t* const slot = std::find(plan.residue, end, from % plan.step);
      if (slot == end) plan.residue[plan.slots++] = from % plan.step;
      plan.slot[k] = static_cast<int>(slot - plan.residue);
      plan.shift[k] = static_cast<int>(from / plan.step);
      plan.most_shift = std::max(plan.most_shift, plan.shift[k]);
    }
  }
  plan.first_tap = first_taps.data();
}

// Elements of a line of a tile: the lines that a row of outputs needs stay in L1 or L2.
constexpr int64_t kUpfirdnLine = 1024;
// Short lines are computed together, up to this many elements: loops are long, and L1 or L2 holds them.
constexpr int64_t kUpfirdnGroup = 4096;
// Neighbouring channels of a tile, if there are more.
constexpr int64_t kUpfirdnChannels = 64;

// The tiles of all planes, in order.
struct UpfirdnTiles {
  int64_t channels, columns, group_planes, group_rows, planes, rows;  // of a tile; the last ones may have fewer
  int64_t channel_blocks, column_blocks, plane_blocks, row_blocks;

  explicit UpfirdnTiles(const UpfirdnPlan& plan) {
    const UpfirdnCall& call = plan.call;
    channels = call.inner <= kUpfirdnChannels ? call.inner : kUpfirdnChannels / 2;
    columns = std::max<int64_t>(kUpfirdnLine / (channels * std::max(plan.phases, plan.step)), 1) * plan.phases;
    const int64_t length = UpfirdnSizes(plan, 1, 1, std::min(columns, call.out_width), channels).length;
    const int64_t line = length * channels * std::max(plan.phases, plan.step);
    const int64_t lines = std::max<int64_t>(kUpfirdnGroup / line, 1);
    // Groups of about equally many rows.
    group_rows = plan.down_first ? divided_up(call.out_height, divided_up(call.out_height, lines)) : 1;
    const bool has_all_rows = !plan.down_first || group_rows == call.out_height;
    const bool has_planes = has_all_rows && call.inner == 1 && columns >= call.out_width;
    group_planes = has_planes ? within(lines / group_rows, 1, call.planes) : 1;
    channel_blocks = divided_up(call.inner, channels);
    column_blocks = divided_up(call.out_width, columns);
    // Neighbouring rows need some of the same inputs, so a tile has many; but there are enough for all threads.
    const int64_t wanted = 8 * static_cast<int64_t>(call.where), others = channel_blocks * column_blocks;
    const int64_t plane = call.out_height * std::min(columns, call.out_width) * channels;
    planes = call.inner == 1 ? within(kChunk / plane, group_planes, call.planes) : 1;
    plane_blocks = divided_up(call.planes, planes);
    rows = std::max<int64_t>(call.out_height * others * plane_blocks / wanted, 32);
    rows = divided_up(rows, group_rows) * group_rows;
    row_blocks = divided_up(call.out_height, rows);
  }
  int64_t count() const { return channel_blocks * column_blocks * row_blocks * plane_blocks; }
};

UpfirdnTile tile_at(const UpfirdnPlan& plan, const UpfirdnTiles& tiles, int64_t index, void* scratch) {
  const UpfirdnCall& call = plan.call;
  const auto next = [&](int64_t blocks) {
    const int64_t block = index % blocks;
    index /= blocks;
    return block;
  };
  const int64_t channel = next(tiles.channel_blocks) * tiles.channels;
  const int64_t column = next(tiles.column_blocks) * tiles.columns;
  const int64_t row = next(tiles.row_blocks) * tiles.rows;
  const int64_t plane = index * tiles.planes;
  const int64_t from = plane * call.in_height * call.in_width * call.inner + channel;
  const int64_t to = (plane * call.out_height * call.out_width + column) * call.inner + channel;
  return {plan, advance(call.input, from, call.dtype), advance(call.output, to, call.dtype),
          std::min(tiles.planes, call.planes - plane), row, std::min(tiles.rows, call.out_height - row),
          column, std::min(tiles.columns, call.out_width - column), std::min(tiles.channels, call.inner - channel),
          tiles.group_planes, tiles.group_rows, scratch};
}

template <class A>
void resample(const UpfirdnCall& call) {
  const bool is_planes = call.inner == 1;
  const PlanTaps<A> taps(call, is_planes);
  std::vector<int> first_taps;
  UpfirdnPlan plan{};
  plan.call = call;
  plan.across = taps.across.data();
  plan.down = taps.down.empty() ? nullptr : taps.down.data();
  plan.down_first = is_planes && plan.down != nullptr;
  const int64_t common = std::gcd(call.up_x, call.down_x);
  plan.phases = std::min<int64_t>(call.up_x / common, call.out_width);
  plan.step = call.down_x / common;
  place_taps(plan, first_taps);
  const UpfirdnTiles tiles(plan);
  const int64_t columns = std::min(tiles.columns, call.out_width);
  const int64_t scratch = UpfirdnSizes(plan, tiles.group_planes, tiles.group_rows, columns, tiles.channels).scratch();
  const int64_t outputs = call.planes * call.out_height * call.out_width * call.inner;
  const auto kernel = kernels().upfirdn_tile[static_cast<int>(call.dtype)];
  for_each_piece(tiles.count(), outputs, call.where, [&](int64_t tile) {
    const std::unique_ptr<A[]> room(new A[static_cast<size_t>(scratch)]);
    kernel(tile_at(plan, tiles, tile, room.get()));
  });
}

}  // namespace

void upfirdn2d(const UpfirdnCall& call) {
  const int64_t outputs = call.planes * call.out_height * call.out_width * call.inner;
  if (outputs == 0) return;
  if (call.planes * call.in_height * call.in_width * call.inner == 0) {  // padding alone, without an address
    std::memset(call.output, 0, static_cast<size_t>(outputs * bytes_of(call.dtype)));
    return;
  }
  advise_huge_pages(call.output, outputs * bytes_of(call.dtype));
  call.dtype == DType::f64 ? resample<double>(call) : resample<float>(call);
}

}  // namespace fastgan
