// Upsampling, filtering and downsampling of a tile of an image. Included by isa.cpp only; internal linkage.
#pragma once

#include <cstring>
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

// `count` ranges of `size` elements, at these distances from each other.
struct UpfirdnRuns {
  int64_t count, size, in_stride, out_stride;
};

// kIndex: 1, ..., terms - 1. As a fold, since g++ unrolls long loops over terms only after it has vectorized.
template <class A, size_t... kIndex>
void sum_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out, std::index_sequence<0, kIndex...>) {
  const A* in[] = {at[0], at[kIndex]...};
  const A w[] = {factor[0], factor[kIndex]...};
  for (int64_t run = 0; run < runs.count; ++run) {
#pragma omp simd
    for (int64_t s = 0; s < runs.size; ++s) {
      A sum = w[0] * in[0][s];
      ((sum += w[kIndex] * in[kIndex][s]), ...);
      out[s] = sum;
    }
    for (const A*& each : in) each += runs.in_stride;
    out += runs.out_stride;
  }
}

template <class A, size_t kCount>
void sum_of(const A* const* at, const A* factor, const UpfirdnRuns& runs, A* out) {
  sum_of(at, factor, runs, out, std::make_index_sequence<kCount>());
}

// The sums of 1, ..., kUpfirdnTerms terms.
template <class A, class = std::make_index_sequence<kUpfirdnTerms>>
struct SumOfFew;
template <class A, size_t... kIndex>
struct SumOfFew<A, std::index_sequence<kIndex...>> {
  static constexpr void (*of[])(const A* const*, const A*, const UpfirdnRuns&, A*) = {sum_of<A, kIndex + 1>...};
};

// Overwrites the terms if there are many; `partial` is like one of them.
template <class A>
void sum(UpfirdnTerms<A>& terms, const UpfirdnRuns& runs, A* partial, A* out) {
  if (terms.count == 0) {
    for (int64_t run = 0; run < runs.count; ++run) set_zero(out + run * runs.out_stride, runs.size);
    return;
  }
  const UpfirdnRuns within{runs.count, runs.size, runs.in_stride, runs.in_stride};
  const A** at = terms.at;
  A* factor = terms.factor;
  int count = terms.count;
  for (; count > kUpfirdnTerms; count -= kUpfirdnTerms - 1) {
    sum_of<A, kUpfirdnTerms>(at, factor, within, partial);
    at += kUpfirdnTerms - 1;
    factor += kUpfirdnTerms - 1;
    *at = partial;
    *factor = 1;
  }
  SumOfFew<A>::of[count - 1](at, factor, runs, out);
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

// to [count, size] = groups of elements that are `stride` apart
template <class T, class A>
void gather(const T* from, int64_t stride, A* to, int64_t count, int64_t size) {
  if (size == stride) {
    size *= count;
    count = 1;
  } else if (size == 1 && stride == 2) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] = load(from[2 * i]);
    return;
  }
  for (int64_t i = 0; i < count; ++i) load_run(from + i * stride, size, to + i * size);
}

template <class A>
void interleave(const A* even, const A* odd, A* to, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
  }
}

// A tile at work. All arrays are in scratch, in the compute type.
template <class T>
struct UpfirdnWork {
  using A = compute_t<T>;
  const UpfirdnTile& tile;
  const UpfirdnPlan& plan;
  UpfirdnSizes sizes;
  int64_t first[kMostUpfirdnTaps], end[kMostUpfirdnTaps];  // of each slot's elements that are within the image
  int64_t start;                                           // see UpfirdnPlan
  A *ring, *split, *row, *phase, *partial;
  UpfirdnTerms<A> terms;

  explicit UpfirdnWork(const UpfirdnTile& t)
      : tile(t), plan(t.plan), sizes(t.plan, t.planes, t.columns, t.channels) {
    const UpfirdnCall& call = plan.call;
    start = divided_up(t.column * call.down_x - call.left, call.up_x);
    for (int s = 0; s < plan.slots; ++s) {
      const int64_t column = start + plan.residue[s];
      first[s] = within(divided_up(-column, plan.step), 0, sizes.length);
      end[s] = within(divided_up(call.in_width - column, plan.step), first[s], sizes.length);
    }
    ring = static_cast<A*>(t.scratch);
    split = ring + sizes.kept * sizes.kept_row();
    row = split + sizes.split_row();
    phase = row + sizes.row;
    partial = phase + 2 * sizes.slot;
    // What lies outside the image is zero in every row.
    if (sizes.separable)
      set_zero(split, sizes.split_row());
    else
      set_zero(ring, sizes.kept * sizes.split_row());
  }

  // Splits a row of the input into slots: [slots, planes, length, channels].
  void fetch(int64_t y, A* to) const {
    const UpfirdnCall& call = plan.call;
    const T* row_of_first = static_cast<const T*>(tile.input) + y * call.in_width * call.inner;
    for (int s = 0; s < plan.slots; ++s) {
      if (end[s] == first[s]) continue;
      const T* from = row_of_first + (start + plan.residue[s] + plan.step * first[s]) * call.inner;
      A* slot = to + s * sizes.slot + first[s] * tile.channels;
      for (int64_t p = 0; p < tile.planes; ++p)
        gather(from + p * call.in_height * call.in_width * call.inner, plan.step * call.inner,
               slot + p * sizes.length * tile.channels, end[s] - first[s], tile.channels);
    }
  }

  // A row of outputs [planes, length, phases, channels], from split rows and the taps of each.
  void filter(const A* const* rows, const A* const* taps, int count, A* to) {
    const int64_t phases = plan.phases, channels = tile.channels;
    // Loops over whole vectors: arrays have room for that.
    const int64_t elements = divided_up(sizes.sums * channels, 16) * 16;
    for (int64_t p = 0; p < phases; ++p) {
      terms.count = 0;
      for (int i = 0; i < count; ++i)
        for (int64_t k = plan.first_tap[p]; k < plan.call.filter_width; k += plan.call.up_x)
          terms.add(rows[i] + plan.slot[k] * sizes.slot + plan.shift[k] * channels, taps[i][k]);
      if (phases == 1) {
        sum(terms, {1, elements, 0, 0}, partial, to);
      } else if (channels > 1) {
        sum(terms, {sizes.sums, channels, channels, phases * channels}, partial, to + p * channels);
      } else {
        A* sums = phases == 2 ? phase + p * sizes.slot : phase;
        sum(terms, {1, elements, 0, 0}, partial, sums);
        if (phases > 2)
          for (int64_t i = 0; i < sizes.sums; ++i) to[phases * i + p] = sums[i];
      }
    }
    if (phases == 2 && channels == 1) interleave(phase, phase + sizes.slot, to, elements);
  }

  // Stores row y of the output: `row`, or, if the filter is separable, the sum of `terms`.
  void put(int64_t y) {
    const UpfirdnCall& call = plan.call;
    T* to = static_cast<T*>(tile.output) + y * call.out_width * call.inner;
    const int64_t channels = tile.channels;
    UpfirdnRuns runs{tile.columns, channels, channels, call.inner};
    if (channels == call.inner)
      runs = {tile.planes, tile.columns * channels, sizes.length * plan.phases * channels,
              call.out_height * call.out_width * call.inner};
    if constexpr (std::is_same_v<T, A>) {
      if (sizes.separable) return sum(terms, runs, partial, to);
    } else {
      if (sizes.separable) sum(terms, {runs.count, runs.size, runs.in_stride, runs.in_stride}, partial, row);
    }
    for (int64_t run = 0; run < runs.count; ++run)
      store_run(row + run * runs.in_stride, runs.size, to + run * runs.out_stride);
  }
};

template <class T>
void upfirdn_tile(const UpfirdnTile& tile) {
  using A = compute_t<T>;
  UpfirdnWork<T> work(tile);
  const UpfirdnPlan& plan = tile.plan;
  const UpfirdnCall& call = plan.call;
  const A *across = static_cast<const A*>(plan.across), *down = static_cast<const A*>(plan.down);
  int64_t next = 0;  // row of the input that is not yet in the ring
  for (int64_t y = tile.row; y < tile.row + tile.rows; ++y) {
    const int64_t position = y * call.down_y - call.top;
    const int64_t start = divided_up(position, call.up_y);
    const int64_t first_tap = start * call.up_y - position;  // that of row `start`
    const int64_t count = first_tap < call.filter_height ? (call.filter_height - 1 - first_tap) / call.up_y + 1 : 0;
    const int64_t first = within(start, 0, call.in_height), end = within(start + count, first, call.in_height);
    const auto kept = [&](int64_t row) { return work.ring + row % work.sizes.kept * work.sizes.kept_row(); };
    for (next = next > first ? next : first; next < end; ++next) {
      if (down == nullptr) {
        work.fetch(next, kept(next));
      } else {
        work.fetch(next, work.split);
        work.filter(&work.split, &across, 1, kept(next));
      }
    }
    const auto tap = [&](int64_t row) { return first_tap + (row - start) * call.up_y; };
    if (down == nullptr) {
      const A *rows[kMostUpfirdnTaps], *taps[kMostUpfirdnTaps];
      for (int64_t row = first; row < end; ++row) {
        rows[row - first] = kept(row);
        taps[row - first] = across + tap(row) * call.filter_width;
      }
      work.filter(rows, taps, static_cast<int>(end - first), work.row);
    } else {
      work.terms.count = 0;
      for (int64_t row = first; row < end; ++row) work.terms.add(kept(row), down[tap(row)]);
    }
    work.put(y);
  }
}

}  // namespace
}  // namespace fastgan
