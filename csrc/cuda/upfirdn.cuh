// What the kernels for fixed rates and numbers of taps have in common.
//
// Along an axis, y[o] = sum_k c[k] z[o down + k], with z[p] = x[(p - padding) / up] where that is an index of x.
// Outputs are computed in units that read one contiguous window of x and use all taps: `up` outputs from taps / up
// inputs, with the next unit's window `down` inputs later. At up 2, output f of a unit uses the taps 1 - f, 3 - f, ..:
// the first output of a unit is an even one if the padding is odd, and an odd one if it is even.
#pragma once

#include "channels.cuh"
#include "upfirdn2d.h"

namespace fastgan::cuda {

template <int up, int down, int taps>
struct Axis {
  static constexpr int kUp = up, kDown = down, kTaps = taps;
  static constexpr int kReach = taps / up;      // inputs of an output
  static constexpr int kHalo = kReach - down;   // inputs that a unit shares with the next ones
  static_assert(up == 1 || (up == 2 && down == 1), "a unit is an output, or two of them");

  __device__ static constexpr int tap(int f, int n) { return n * up + up - 1 - f; }  // with input n of the window
};

// Positions along an axis. All units: from the first that has an output inside, to the last.
struct Units {
  int count;
  int output;  // of unit 0; may be -1
  int input;   // of unit 0; may be negative

  template <class Axis>
  static Units of(int64_t size, int64_t padding) {
    const int outputs = static_cast<int>(size), before = static_cast<int>(padding);
    if (Axis::kUp == 1) return {outputs, 0, -before};
    const int is_odd = before & 1;
    return {(outputs + 2 - is_odd) / 2, is_odd - 1, -((before - is_odd) / 2)};
  }
};

// Splits the number of a block: returns it modulo `size`, and divides it.
__device__ inline int next_index(unsigned& rest, int size) {
  const unsigned of = static_cast<unsigned>(size), index = rest % of;
  rest /= of;
  return static_cast<int>(index);
}

// Copies the taps of a correlation to shared memory, times the gain: [kTaps, kTaps], or [kTaps] if kIsSeparable. The
// outer product of a separable filter may be taken for the former.
template <class T, int kTaps, bool kIsSeparable>
struct FixedTaps {
  compute_t<T> at[kIsSeparable ? kTaps : kTaps * kTaps];

  // The filter's element at this place of the correlation's.
  __device__ static compute_t<T> element(const UpfirdnCall& call, int row, int column) {
    const int y = call.flip ? row : kTaps - 1 - row, x = call.flip ? column : kTaps - 1 - column;
    const PerChannel filter{const_cast<void*>(call.filter), call.filter_dtype};
    if (kIsSeparable) return load_number<T>(filter, x, 0);
    if (call.separable) return load_number<T>(filter, y, 0) * load_number<T>(filter, x, 0);
    return load_number<T>(filter, y * kTaps + x, 0);
  }
  // The barrier after it is the caller's.
  __device__ void load(const UpfirdnCall& call) {
    static_assert(sizeof at / sizeof at[0] <= kThreads, "a thread loads one");
    const int i = static_cast<int>(threadIdx.x);
    if (i < static_cast<int>(sizeof at / sizeof at[0]))
      at[i] = element(call, i / kTaps, i % kTaps) * (kIsSeparable ? 1 : static_cast<compute_t<T>>(call.gain));
  }
};

// A part of some planes, as numbers of the compute type in shared memory: [planes, rows, pitch].
struct Part {
  int plane, row, column;     // the first; a row or column may lie outside of the image
  int planes, rows, columns;  // those of the part
};

// Where column e of a part is in its row. With a word after every kStep, threads that read at kStep columns from each
// other use different banks. A row has room for a vector that begins before it, or ends after it.
template <class T, int kStep>
struct Padded {
  static constexpr int kBefore = kStep;
  static_assert(kStep % kVector<T> == 0, "a vector that begins at column 0 has its elements next to each other");

  FASTGAN_HD constexpr int place(int e) {
    const unsigned at = static_cast<unsigned>(e + kBefore);
    return static_cast<int>(at + at / kStep);
  }
  FASTGAN_HD constexpr int pitch(int columns) { return place(columns + kVector<T> - 2) + 1; }
};

// 16 bytes of a tensor, as they are loaded: were they elements of two bytes, the compiler would take them apart at
// once, and so wait for each load before the next one.
template <class T>
struct Raw {
  Vector<uint32_t, 4> words{};

  __device__ Raw() {}
  __device__ explicit Raw(const T* aligned) : words(*reinterpret_cast<const Vector<uint32_t, 4>*>(aligned)) {}

  __device__ compute_t<T> at(int i) const {
    if constexpr (sizeof(T) == 2) {
      return load(T{static_cast<uint16_t>(words.at[i / 2] >> i % 2 * 16)});
    } else if constexpr (sizeof(T) == 4) {
      return float_of(static_cast<int32_t>(words.at[i]));
    } else {
      double value;
      memcpy(&value, words.at + 2 * i, sizeof value);
      return value;
    }
  }
};

// Loads a part, with zeros outside of the image. All loads are aligned and of 16 bytes, whatever the width and the
// address of the image are: where a row does not begin at such an address, they reach into the rows around it. Only
// blocks at the ends of a tensor load elements, if it does not begin or end at such an address.
template <class T, int kStep>
struct Filler {
  using A = compute_t<T>;
  using Layout = Padded<T, kStep>;
  static constexpr int V = kVector<T>;
  static constexpr int kTogether = 4;  // loads in flight

  const Part& part;
  int before;      // elements from an aligned address to the tensor
  const T* input;  // that address
  int in_planes, in_height, in_width;
  int from, to;  // columns of the part that are columns of the image
  int pitch;

  __device__ Filler(const UpfirdnCall& call, const Part& what)
      : part(what),
        before(static_cast<int>(reinterpret_cast<uintptr_t>(call.input) % 16 / sizeof(T))),
        input(static_cast<const T*>(call.input) - before),
        in_planes(static_cast<int>(call.planes)),
        in_height(static_cast<int>(call.in_height)),
        in_width(static_cast<int>(call.in_width)),
        from(within(-what.column)),
        to(within(in_width - what.column)),
        pitch(Layout::pitch(what.columns)) {}

  __device__ int within(int column) const { return column < 0 ? 0 : column < part.columns ? column : part.columns; }

  // Row `row` of the part, as one of all rows of the tensor; -1 outside.
  __device__ int line_of(int of_plane, int row) const {
    const int plane = part.plane + of_plane;
    row += part.row;
    const bool is_inside = of_plane < part.planes && plane < in_planes && row >= 0 && row < in_height;
    return is_inside ? plane * in_height + row : -1;
  }
  // Where that row begins, from the aligned address on, if the image had the part's columns.
  __device__ int64_t start_of(int line) const { return int64_t{line} * in_width + (part.column + before); }

  // Whether no vector with elements of the part has elements before or after the tensor.
  __device__ bool has_vectors() const {
    const int64_t size = int64_t{in_planes} * in_height * in_width;
    const int last_plane = part.plane + part.planes - 1 < in_planes ? part.planes - 1 : in_planes - part.plane - 1;
    const bool is_first = line_of(0, part.row < 0 ? -part.row : 0) == 0;
    const bool is_last = part.plane + last_plane == in_planes - 1 && part.row + part.rows >= in_height;
    const bool begins = before == 0 || (!is_first && in_width >= V);
    return begins && ((before + size) % V == 0 || (!is_last && in_width >= V));
  }

  // A vector of the part. Its first `lead` elements are before column `vector` V, the others from there on.
  struct Place {
    int row, vector, lead;  // row: -1 if this is none
    int64_t at;             // in the tensor
    bool is_image;          // else it is zero

    __device__ int column() const { return vector * V - lead; }
  };
  __device__ Place place(int of_plane, int row, int vector) const {
    const int line = line_of(of_plane, row);
    const int64_t start = start_of(line);
    Place p{of_plane < part.planes ? of_plane * part.rows + row : -1, vector, static_cast<int>(start & (V - 1)), 0,
            false};
    p.at = start + p.column();
    p.is_image = line >= 0 && p.column() < to && p.column() + V > from;
    return p;
  }
  // Elements outside of the image may come from other rows.
  __device__ void store(A* tile, const Place& p, const Raw<T>& values) const {
    if (p.row < 0 || p.column() >= part.columns) return;
    A* const row = tile + p.row * pitch;
    A* const leading = row + (Layout::place(p.vector * V - 1) + 1 - p.lead);
    A* const others = row + (Layout::place(p.vector * V) - p.lead);
#pragma unroll
    for (int i = 0; i < V; ++i) (i < p.lead ? leading : others)[i] = values.at(i);
  }
  // Each thread has every kThreads-th vector.
  __device__ void fill_vectors(A* tile) const {
    const int vectors = (part.columns + 2 * V - 2) / V;  // of a row, at most
    const int thread = static_cast<int>(threadIdx.x), line = thread / vectors, more = kThreads / vectors;
    const int more_planes = more / part.rows, more_rows = more % part.rows, more_vectors = kThreads % vectors;
    int plane = line / part.rows, row = line % part.rows, vector = thread % vectors;
#pragma unroll 1
    while (plane < part.planes) {
      Place places[kTogether];
      Raw<T> values[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        places[i] = place(plane, row, vector);
        if (places[i].is_image) values[i] = Raw<T>(input + places[i].at);
        vector += more_vectors;
        const bool is_next = vector >= vectors;
        vector -= is_next ? vectors : 0;
        row += more_rows + (is_next ? 1 : 0);
        const bool is_next_plane = row >= part.rows;
        row -= is_next_plane ? part.rows : 0;
        plane += more_planes + (is_next_plane ? 1 : 0);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) store(tile, places[i], values[i]);
    }
  }
  // Replaces what is not of the image.
  __device__ void fill_borders(A* tile) const {
    const int outside = from + part.columns - to;
    for (int i = static_cast<int>(threadIdx.x); i < part.planes * part.rows * outside; i += kThreads) {
      const int row = i / outside, e = i % outside;
      tile[row * pitch + Layout::place(e < from ? e : e - from + to)] = 0;
    }
  }
  __device__ void fill_elements(A* tile) const {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < part.planes * part.rows * part.columns; i += kThreads) {
      const int row = i / part.columns, e = i % part.columns, line = line_of(row / part.rows, row % part.rows);
      const bool is_image = line >= 0 && e >= from && e < to;
      tile[row * pitch + Layout::place(e)] = is_image ? load(input[start_of(line) + e]) : A(0);
    }
  }
  // A barrier after it is the caller's.
  __device__ void fill(A* tile) const {
    if (!has_vectors()) return fill_elements(tile);
    fill_vectors(tile);
    __syncthreads();
    fill_borders(tile);
  }
};

// Outputs of a thread along a row: 8 or 16, half as many for double.
template <class T, class Axis>
constexpr int kColumns = (sizeof(T) == 8 ? 4 : 8) * Axis::kUp;

// The inputs of a thread's outputs along a row, from an even one on.
template <class T, class Axis>
struct RowWindow {
  using A = compute_t<T>;
  static constexpr int kStep = kColumns<T, Axis> * Axis::kDown / Axis::kUp;
  static constexpr int kWidth = kStep + Axis::kHalo + Axis::kUp - 1;
  A inputs[kWidth];
  A of_odd[Axis::kUp == 1 ? 1 : kWidth - 1];  // at up 2: the inputs of odd outputs

  // Loads them from a row of a part; the thread is the x-th along the row.
  __device__ void load(const A* row, int x, bool is_padding_odd) {
    using Layout = Padded<T, kStep>;
    const A* const from = row + x * (Layout::place(kStep) - Layout::place(0));
#pragma unroll
    for (int i = 0; i < kWidth; ++i) inputs[i] = from[Layout::place(i)];
    if constexpr (Axis::kUp == 2) {
#pragma unroll
      for (int i = 0; i < kWidth - 1; ++i) of_odd[i] = is_padding_odd ? inputs[i] : inputs[i + 1];
    }
  }
  // The input of output j for its tap n.
  __device__ A at(int j, int n) const {
    if (Axis::kUp == 1) return inputs[j * Axis::kDown + n];
    return j % 2 == 0 ? inputs[j / 2 + n] : of_odd[j / 2 + n];
  }
  // That tap, of even (f = 0) or odd outputs.
  __device__ static int tap(int f, int n, bool is_padding_odd) {
    if (Axis::kUp == 1) return n;
    return 2 * n + ((f == 0) == is_padding_odd ? 1 : 0);
  }
};

// Stores kCount adjacent outputs of a row, those that are inside. kCount is a multiple of a vector.
template <class T, int kCount>
__device__ void store_outputs(const UpfirdnCall& call, int plane, int row, int column, bool is_wide,
                              const compute_t<T> (&values)[kCount]) {
  if (plane >= call.planes || row < 0 || row >= call.out_height) return;
  T* const to = static_cast<T*>(call.output) + (plane * call.out_height + row) * call.out_width + column;
  const int left = static_cast<int>(call.out_width) - column;
  constexpr int V = kVector<T>;
#pragma unroll
  for (int i = 0; i < kCount; i += V) {
    Vector<T, V> part;
#pragma unroll
    for (int each = 0; each < V; ++each) store(&part.at[each], values[i + each]);
    if (is_wide) {
      if (i < left) store_vector<T, V>(to + i, part, true);
    } else {
#pragma unroll
      for (int each = 0; each < V; ++each)
        if (i + each < left) to[i + each] = part.at[each];
    }
  }
}

// The next power of two from which `each` times it is at least `size`, but at most `most`.
inline int fitting(int64_t size, int each, int most) {
  int count = 1;
  while (count < most && int64_t{count} * each < size) count *= 2;
  return count;
}

// Kernels for which the padding and all sizes, also the number of rows of all planes, are below 2^30.
//
// Images of planes, by filters of 4 x 4 taps, or 4 taps along both axes; up 2, down 2 or neither.
cudaError_t upfirdn_of_planes(const UpfirdnCall& call);
// The same with channels last, if a row of channels can be read 16 bytes at a time.
cudaError_t upfirdn_of_channels(const UpfirdnCall& call);
// Images of planes, by separable filters of 12 taps; up 2 or down 2.
cudaError_t upfirdn_of_12_taps(const UpfirdnCall& call);

// Whether rows of the output begin at multiples of 16 bytes.
inline bool are_outputs_aligned(const UpfirdnCall& call) {
  return is_aligned(call.output) && call.out_width * bytes_of(call.dtype) % 16 == 0;
}

}  // namespace fastgan::cuda
