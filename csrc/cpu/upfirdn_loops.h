// Upsampling, filtering and downsampling of a tile of an image. Included by isa.cpp only; internal linkage.
#pragma once

#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

#include "kernels.h"
#include "upfirdn_sizes.h"

namespace fastgan {
namespace {

// Terms that are added in one loop: their factors and addresses fit in registers, and L1 holds what a sum reads.
constexpr int kUpfirdnTerms = 12;

template <class A>
void set_zero(A* at, int64_t count) {
  memset(at, 0, static_cast<size_t>(count) * sizeof(A));
}

// The terms of a sum: arrays, and a factor of each.
template <class A>
struct UpfirdnTerms {
  int count = 0;
  const A* at[kMostUpfirdnTaps * kMostUpfirdnTaps];
  A factor[kMostUpfirdnTaps * kMostUpfirdnTaps];
  void add(const A* array, A weight) {
    at[count] = array;
    factor[count++] = weight;
  }
};

// `count` ranges of `size` elements, at these distances from each other, in each of the planes.
struct UpfirdnRuns {
  int64_t count, size, in_stride, out_stride;
  int64_t planes = 1, in_plane = 0, out_plane = 0;
};

// kIndex: 1, ..., terms - 1. As a fold, since g++ unrolls long loops over terms only after it has vectorized. kAdd: to
// what is in `out`.
template <bool kAdd, class A, size_t... kIndex>
void sum_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out, std::index_sequence<0, kIndex...>) {
  const A w[] = {factor[0], factor[kIndex]...};
  for (int64_t p = 0; p < runs.planes; ++p) {
    const A* in[] = {at[0] + p * runs.in_plane, at[kIndex] + p * runs.in_plane...};
    A* to = out + p * runs.out_plane;
    for (int64_t run = 0; run < runs.count; ++run) {
#pragma omp simd
      for (int64_t s = 0; s < runs.size; ++s) {
        A sum = w[0] * in[0][s];
        ((sum += w[kIndex] * in[kIndex][s]), ...);
        to[s] = kAdd ? to[s] + sum : sum;
      }
      for (const A*& each : in) each += runs.in_stride;
      to += runs.out_stride;
    }
  }
}

// Two sums of as many terms, for alternate outputs: first the terms of even ones. A run has `size` of each. Registers
// are interleaved, not arrays.
template <class A, size_t... kIndex>
void two_sums_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out,
                 std::index_sequence<0, kIndex...>) {
  constexpr size_t kTerms = sizeof...(kIndex) + 1;
  const A* even[] = {at[0], at[kIndex]...};
  const A* odd[] = {at[kTerms], at[kTerms + kIndex]...};
  const A v[] = {factor[0], factor[kIndex]...}, w[] = {factor[kTerms], factor[kTerms + kIndex]...};
  for (int64_t run = 0; run < runs.count; ++run) {
#pragma omp simd
    for (int64_t s = 0; s < runs.size; ++s) {
      A first = v[0] * even[0][s], second = w[0] * odd[0][s];
      ((first += v[kIndex] * even[kIndex][s], second += w[kIndex] * odd[kIndex][s]), ...);
      out[2 * s] = first;
      out[2 * s + 1] = second;
    }
    for (const A*& each : even) each += runs.in_stride;
    for (const A*& each : odd) each += runs.in_stride;
    out += runs.out_stride;
  }
}

template <class A>
using UpfirdnSum = void(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out);

template <class A, size_t kCount, bool kAdd>
void sum_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out) {
  sum_of<kAdd>(at, factor, runs, out, std::make_index_sequence<kCount>());
}

template <class A, size_t kCount>
void two_sums_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out) {
  two_sums_of(at, factor, runs, out, std::make_index_sequence<kCount>());
}

// The sums of 1, ..., kUpfirdnTerms terms.
template <class A, class = std::make_index_sequence<kUpfirdnTerms>>
struct SumOfFew;
template <class A, size_t... kIndex>
struct SumOfFew<A, std::index_sequence<kIndex...>> {
  static constexpr UpfirdnSum<A>* set[] = {sum_of<A, kIndex + 1, false>...};
  static constexpr UpfirdnSum<A>* add[] = {sum_of<A, kIndex + 1, true>...};
};

// Two sums of 1, ..., kUpfirdnTerms / 2 terms each.
template <class A, class = std::make_index_sequence<kUpfirdnTerms / 2>>
struct TwoSumsOfFew;
template <class A, size_t... kIndex>
struct TwoSumsOfFew<A, std::index_sequence<kIndex...>> {
  static constexpr UpfirdnSum<A>* set[] = {two_sums_of<A, kIndex + 1>...};
};

template <class A>
void sum(const UpfirdnTerms<A>& terms, const UpfirdnRuns& runs, A* out) {
  if (terms.count == 0)
    for (int64_t p = 0; p < runs.planes; ++p)
      for (int64_t run = 0; run < runs.count; ++run)
        set_zero(out + p * runs.out_plane + run * runs.out_stride, runs.size);
  for (int first = 0; first < terms.count; first += kUpfirdnTerms) {
    const int count = terms.count - first < kUpfirdnTerms ? terms.count - first : kUpfirdnTerms;
    (first == 0 ? SumOfFew<A>::set : SumOfFew<A>::add)[count - 1](terms.at + first, terms.factor + first, runs, out);
  }
}

// Not inlined: within another loop, g++ 12 does not vectorize the conversion to half types.
template <class T, class A>
__attribute__((noinline)) void store_run(const A* from, int64_t size, T* out) {
#pragma omp simd
  for (int64_t s = 0; s < size; ++s) store(&out[s], from[s]);
}

template <class T, class A>
__attribute__((noinline)) void load_run(const T* from, int64_t size, A* to) {
#pragma omp simd
  for (int64_t s = 0; s < size; ++s) to[s] = load(from[s]);
}

template <class A>
void deinterleave(const A* from, A* even, A* odd, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    even[i] = from[2 * i];
    odd[i] = from[2 * i + 1];
  }
}

// The rows first, ..., end - 1 of the input that a row of outputs needs.
struct UpfirdnWindow {
  int64_t first, end;
  int64_t up, position;  // of the row of outputs in the upsampled image
  bool is_complete;      // no other row would be needed if the image had more
  UpfirdnWindow(const UpfirdnCall& call, int64_t y) : up(call.up_y), position(y * call.down_y - call.top) {
    const int64_t start = divided_up(position, up), stop = divided_up(position + call.filter_height, up);
    first = within(start, 0, call.in_height);
    end = within(stop, first, call.in_height);
    is_complete = end - first == stop - start;
  }
  int64_t tap_of(int64_t row) const { return row * up - position; }
};

// A tile at work. All arrays are in scratch, in the compute type.
template <class T>
struct UpfirdnWork {
  using A = compute_t<T>;
  static constexpr bool kConverts = !std::is_same_v<T, A>;

  // Lines of outputs: [count, columns, channels], with these strides.
  struct Lines {
    A* at;
    int64_t count, columns, stride, pixel;
  };

  const UpfirdnTile& tile;
  const UpfirdnPlan& plan;
  const UpfirdnCall& call;
  const bool is_planes;  // one channel, of images that have no others
  const int64_t channels;
  const UpfirdnSizes sizes;
  const A *across, *down;
  int64_t start;       // the column of the image with which lines begin
  int64_t first, end;  // the part of a line that is within the image
  A *ring, *split, *row, *phase, *wide;
  UpfirdnTerms<A> terms;
  // Of the group:
  const T* input;
  T* output;
  int64_t planes;
  int64_t next;  // row of the input that is not yet in the ring

  explicit UpfirdnWork(const UpfirdnTile& t)
      : tile(t),
        plan(t.plan),
        call(t.plan.call),
        is_planes(call.inner == 1),
        channels(t.channels),
        sizes(t.plan, t.group_planes, t.group_rows, t.columns, t.channels),
        across(static_cast<const A*>(t.plan.across)),
        down(static_cast<const A*>(t.plan.down)) {
    start = divided_up(t.column * call.down_x - call.left, call.up_x);
    first = within(-start, 0, sizes.span);
    end = within(call.in_width - start, first, sizes.span);
    ring = static_cast<A*>(t.scratch);
    split = ring + sizes.kept * sizes.kept_row;
    row = split + sizes.slots * sizes.slot;
    phase = row + sizes.row;
    // Lines that are not split are where split ones would be.
    wide = plan.step == 1 ? split : phase + sizes.slot;
    // What lies outside the image is zero in every line.
    if (is_planes)
      set_zero(wide, sizes.wide);
    else
      set_zero(split, sizes.slots * sizes.slot);
    if (down == nullptr) set_zero(ring, sizes.kept * sizes.kept_row);
  }

  void run() {
    for (int64_t p = 0; p < tile.planes; p += tile.group_planes) {
      input = static_cast<const T*>(tile.input) + p * call.in_height * call.in_width * call.inner;
      planes = within(tile.planes - p, 0, tile.group_planes);
      next = 0;
      for (int64_t r = 0; r < tile.rows; r += tile.group_rows) {
        const int64_t y = tile.row + r;
        output = static_cast<T*>(tile.output) + (p * call.out_height + y) * call.out_width * call.inner;
        if (plan.down_first)
          filter_rows(y, within(tile.rows - r, 0, tile.group_rows));
        else
          filter_row(y);
      }
    }
  }

  // to [planes, span] = a row of the input, of planes
  void fetch(int64_t y, A* to) const {
    const T* from = input + y * call.in_width + start + first;
    for (int64_t p = 0; p < planes; ++p)
      load_run(from + p * call.in_height * call.in_width, end - first, to + p * sizes.span + first);
  }

  // to [slots, lines, length] = wide [lines, length, step]
  void split_lines(int64_t lines, A* to) const {
    const int64_t count = lines * sizes.length;
    if (plan.step == 2 && plan.slots == 2) {
      const int64_t even = plan.residue[0] == 0 ? 0 : sizes.slot;
      return deinterleave(wide, to + even, to + (sizes.slot - even), count);
    }
    for (int s = 0; s < plan.slots; ++s)
      for (int64_t i = 0; i < count; ++i) to[s * sizes.slot + i] = wide[plan.step * i + plan.residue[s]];
  }

  // to [slots, length, channels] = a row of the input, of channels
  void fetch_pixels(int64_t y, A* to) const {
    const T* from = input + (y * call.in_width + start) * call.inner;
    if (plan.step == 1 && channels == call.inner)
      return load_run(from + first * channels, (end - first) * channels, to + first * channels);
    for (int s = 0; s < plan.slots; ++s) {
      const int64_t begin = divided_up(first - plan.residue[s], plan.step);
      const int64_t count = divided_up(end - plan.residue[s], plan.step) - begin, stride = plan.step * call.inner;
      const T* const pixels = from + (plan.step * begin + plan.residue[s]) * call.inner;
      A* const slot = to + s * sizes.slot + begin * channels;
      for (int64_t i = 0; i < count; ++i) load_run(pixels + i * stride, channels, slot + i * channels);
    }
  }

  // The terms of a phase, from split rows and the taps of each.
  void add_terms(const A* const* rows, const A* const* taps, int count, int64_t p) {
    for (int i = 0; i < count; ++i)
      for (int64_t k = plan.first_tap[p]; k < call.filter_width; k += call.up_x)
        terms.add(rows[i] + plan.slot[k] * sizes.slot + plan.shift[k] * channels, taps[i][k]);
  }

  // The outputs of lines, from split rows and the taps of each. stride: between lines in the output.
  void filter(const A* const* rows, const A* const* taps, int count, int64_t lines, int64_t stride) {
    if constexpr (!kConverts) {
      filter_lines(rows, taps, count, {output, lines, tile.columns, stride, call.inner});
    } else {
      // As one long line, with what is between two.
      const int64_t all = (lines - 1) * sizes.length + divided_up(tile.columns, plan.phases);
      filter_lines(rows, taps, count, {row, 1, all * plan.phases, 0, channels});
      for (int64_t i = 0; i < lines; ++i)
        store_line(row + i * sizes.length * plan.phases * channels, output + i * stride);
    }
  }

  void store_line(const A* from, T* to) const {
    if (channels == call.inner)
      store_run(from, tile.columns * channels, to);
    else
      for (int64_t c = 0; c < tile.columns; ++c) store_run(from + c * channels, channels, to + c * call.inner);
  }

  void filter_lines(const A* const* rows, const A* const* taps, int count, const Lines& to) {
    const int64_t phases = plan.phases, line = sizes.length * channels;
    if (phases == 2 && is_planes && filter_pairs(rows, taps, count, to)) return;
    for (int64_t p = 0; p < phases; ++p) {
      const int64_t outputs = divided_up(to.columns - p, phases);
      terms.count = 0;
      add_terms(rows, taps, count, p);
      if (phases == 1 && channels == to.pixel)
        sum(terms, {to.count, outputs * channels, line, to.stride}, to.at);
      else if (!is_planes)
        sum(terms, {outputs, channels, channels, phases * to.pixel, to.count, line, to.stride}, to.at + p * to.pixel);
      else
        for (int64_t i = 0; i < to.count; ++i) {
          sum(terms, {1, outputs, 0, 0}, phase);
          for (int64_t c = 0; c < outputs; ++c) to.at[i * to.stride + phases * c + p] = phase[c];
          for (int k = 0; k < terms.count; ++k) terms.at[k] += line;
        }
    }
  }

  // Both phases together, if they have equally many terms, but not too many.
  bool filter_pairs(const A* const* rows, const A* const* taps, int count, const Lines& to) {
    terms.count = 0;
    add_terms(rows, taps, count, 0);
    const int each = terms.count;
    add_terms(rows, taps, count, 1);
    if (each == 0 || each > kUpfirdnTerms / 2 || terms.count != 2 * each) return false;
    const int64_t pairs = to.columns / 2;
    TwoSumsOfFew<A>::set[each - 1](terms.at, terms.factor, {to.count, pairs, sizes.length, to.stride}, to.at);
    if (to.columns % 2 == 1) {
      terms.count = each;
      for (int k = 0; k < each; ++k) terms.at[k] += pairs;
      sum(terms, {to.count, 1, sizes.length, to.stride}, to.at + 2 * pairs);
    }
    return true;
  }

  // Rows of a group of planes, down the columns first.
  void filter_rows(int64_t y, int64_t rows) {
    // What is summed: rows of the input, in place if they are in the compute type. `from`: where row 0 is or would be.
    const A* from;
    int64_t in_row = call.in_width, in_plane = call.in_height * in_row;
    if constexpr (!kConverts) {
      from = input + start + first;
    } else {
      const int64_t lowest = UpfirdnWindow(call, y).first, highest = UpfirdnWindow(call, y + rows - 1).end;
      for (int64_t i = lowest; i < highest; ++i) fetch(i, ring + (i - lowest) * sizes.kept_row);
      from = ring + first - lowest * sizes.kept_row;
      in_row = sizes.kept_row;
      in_plane = sizes.span;
    }
    // Rows y, y + period, ... have the same taps, and their inputs are `step` rows apart.
    const int64_t common = std::gcd(call.up_y, call.down_y), period = call.up_y / common, step = call.down_y / common;
    for (int64_t q = 0; q < period; ++q)
      for (int64_t r = q, count; r < rows; r += period * count) {
        const UpfirdnWindow window(call, y + r);
        count = 1;
        if (window.is_complete)
          count = within((call.in_height - window.end) / step + 1, 1, divided_up(rows - r, period));
        terms.count = 0;
        for (int64_t i = window.first; i < window.end; ++i) terms.add(from + i * in_row, down[window.tap_of(i)]);
        sum(terms, {count, end - first, step * in_row, period * sizes.span, planes, in_plane,
                    tile.group_rows * sizes.span}, wide + r * sizes.span + first);
      }
    const int64_t lines = (planes - 1) * tile.group_rows + rows;
    if (plan.step > 1) split_lines(lines, split);
    filter(&split, &across, 1, lines, call.out_width);
  }

  // A row of all planes of the group, from rows in the ring.
  void filter_row(int64_t y) {
    const UpfirdnWindow window(call, y);
    for (next = next > window.first ? next : window.first; next < window.end; ++next) keep(next);
    if (down != nullptr) return add_rows(window);
    const A *rows[kMostUpfirdnTaps], *taps[kMostUpfirdnTaps];
    for (int64_t i = window.first; i < window.end; ++i) {
      rows[i - window.first] = kept(i);
      taps[i - window.first] = across + window.tap_of(i) * call.filter_width;
    }
    filter(rows, taps, static_cast<int>(window.end - window.first), planes,
           call.out_height * call.out_width * call.inner);
  }

  A* kept(int64_t y) const { return ring + y % sizes.kept * sizes.kept_row; }

  // Puts a row of the input into the ring: split, and filtered if the filter is separable.
  void keep(int64_t y) {
    A* const split_to = down == nullptr ? kept(y) : split;
    if (is_planes) {
      fetch(y, plan.step == 1 ? split_to : wide);
      if (plan.step > 1) split_lines(planes, split_to);
    } else {
      fetch_pixels(y, split_to);
    }
    if (down != nullptr) filter_lines(&split, &across, 1, {kept(y), 1, tile.columns, 0, channels});
  }

  // A row of the output, from filtered rows.
  void add_rows(const UpfirdnWindow& window) {
    terms.count = 0;
    for (int64_t i = window.first; i < window.end; ++i) terms.add(kept(i), down[window.tap_of(i)]);
    const UpfirdnRuns all{1, tile.columns * channels, 0, 0};
    if constexpr (!kConverts) {
      sum(terms, channels == call.inner ? all : UpfirdnRuns{tile.columns, channels, channels, call.inner}, output);
    } else {
      sum(terms, all, row);
      store_line(row, output);
    }
  }
};

template <class T>
void upfirdn_tile(const UpfirdnTile& tile) {
  UpfirdnWork<T>(tile).run();
}

}  // namespace
}  // namespace fastgan
