// What the kernels for fixed rates and numbers of taps have in common.
//
// Along an axis, y[o] = sum_k c[k] z[o down + k], with z[p] = x[(p - padding) / up] where that is an index of x. Outputs
// are computed in units that read one contiguous window of x and use all taps: `up` outputs from taps / up inputs, with
// the next unit's window `down` inputs later. At up 2, output f of a unit uses the taps 1 - f, 3 - f, ..: the first
// output of a unit is an even one if the padding is odd, and an odd one if it is even.
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
  int64_t count;
  int64_t output;  // of unit 0; may be -1
  int64_t input;   // of unit 0; may be negative

  template <class Axis>
  static Units of(int64_t size, int64_t padding) {
    if (Axis::kUp == 1) return {size, 0, -padding};
    const int64_t is_odd = padding & 1;
    return {(size + 2 - is_odd) / 2, is_odd - 1, -((padding - is_odd) / 2)};
  }
};

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
  int64_t plane, row, column;  // the first; a row or column may lie outside of the image
  int planes, rows, columns;   // those of the part
};

// Where column e of a part is in its row. With a word after every kStep, threads that read at kStep columns from each
// other use different banks. A row has room for a vector that begins before it, or ends after it.
template <class T, int kStep>
struct Padded {
  static constexpr int kBefore = kStep > kVector<T> ? kStep : kVector<T>;

  FASTGAN_HD constexpr int place(int e) { return e + kBefore + (e + kBefore) / kStep; }
  FASTGAN_HD constexpr int pitch(int columns) { return place(columns + kVector<T> - 2) + 1; }
};

// Loads a part, with zeros outside of the image. All loads are aligned and of 16 bytes, whatever the width and the
// address of the image are: where a row does not begin at such an address, they reach into the rows around it. Only
// at the ends of the tensor elements are loaded.
template <class T, int kStep>
struct Filler {
  using A = compute_t<T>;
  using Layout = Padded<T, kStep>;
  static constexpr int V = kVector<T>;
  static constexpr int kTogether = 4;  // loads in flight

  const UpfirdnCall& call;
  const Part& part;
  int before;      // elements from an aligned address to the tensor
  const T* input;  // that address
  int64_t end;     // of the tensor
  int from, to;    // columns of the part that are columns of the image
  int vectors;     // of a row, at most
  int pitch;

  __device__ Filler(const UpfirdnCall& of, const Part& what)
      : call(of),
        part(what),
        before(static_cast<int>(reinterpret_cast<uintptr_t>(of.input) % 16 / sizeof(T))),
        input(static_cast<const T*>(of.input) - before),
        end(of.planes * of.in_height * of.in_width + before),
        from(within(-what.column)),
        to(within(of.in_width - what.column)),
        vectors((what.columns + 2 * V - 2) / V),
        pitch(Layout::pitch(what.columns)) {}

  __device__ int within(int64_t column) const {
    return static_cast<int>(column < 0 ? 0 : column < part.columns ? column : part.columns);
  }

  // A vector of the part: its row, and the column of its first element.
  struct Place {
    int line, column;
    int64_t at;     // in the tensor
    bool is_image;  // else it is zero
  };
  __device__ Place place(int line, int vector) const {
    const int of_plane = part.planes == 1 ? 0 : line / part.rows;
    const int64_t plane = part.plane + of_plane, row = part.row + (line - of_plane * part.rows);
    const bool is_row = plane < call.planes && row >= 0 && row < call.in_height;
    const int64_t start = (is_row ? (plane * call.in_height + row) * call.in_width : 0) + part.column + before;
    const int column = vector * V - static_cast<int>(start & (V - 1));
    return {line, column, start + column, is_row && column < to && column + V > from};
  }
  __device__ bool is_whole(const Place& p) const { return p.at >= before && p.at + V <= end; }
  __device__ Vector<T, V> load(const Place& p) const {
    return p.is_image && is_whole(p) ? *reinterpret_cast<const Vector<T, V>*>(input + p.at) : Vector<T, V>{};
  }
  // Elements outside of the image may come from other rows.
  __device__ void store(A* tile, const Place& p, const Vector<T, V>& values) const {
    A* const line = tile + p.line * pitch;
    if (p.column >= part.columns) return;
    if (p.is_image && !is_whole(p)) {
#pragma unroll 1
      for (int e = p.column; e < p.column + V; ++e)
        if (e >= from && e < to) line[Layout::place(e)] = fastgan::load(input[p.at + e - p.column]);
      return;
    }
#pragma unroll
    for (int i = 0; i < V; ++i) line[Layout::place(p.column + i)] = fastgan::load(values.at[i]);
  }
  __device__ void fill_vectors(A* tile, int lines) const {
    int line = static_cast<int>(threadIdx.x) / vectors, vector = static_cast<int>(threadIdx.x) % vectors;
    const int more_lines = kThreads / vectors, more_vectors = kThreads % vectors;
#pragma unroll 1
    while (line < lines) {
      Place places[kTogether];
      Vector<T, V> values[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        places[i] = place(line, vector);
        places[i].is_image = places[i].is_image && line < lines;
        values[i] = load(places[i]);
        line += more_lines;
        vector += more_vectors;
        if (vector >= vectors) {
          vector -= vectors;
          ++line;
        }
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i)
        if (places[i].line < lines) store(tile, places[i], values[i]);
    }
  }
  // A barrier after it is the caller's.
  __device__ void fill(A* tile) const {
    const int lines = part.planes * part.rows, outside = from + part.columns - to;
    fill_vectors(tile, lines);
    if (outside == 0) return;
    __syncthreads();  // before zeros replace what is not of the row
    for (int i = static_cast<int>(threadIdx.x); i < lines * outside; i += kThreads) {
      const int line = i / outside, e = i % outside;
      tile[line * pitch + Layout::place(e < from ? e : e - from + to)] = 0;
    }
  }
};

// The inputs of kColumns adjacent outputs of a row, from an even one on.
template <class T, class Axis, int kColumns>
struct RowWindow {
  using A = compute_t<T>;
  static constexpr int kStep = kColumns * Axis::kDown / Axis::kUp;
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
__device__ void store_outputs(const UpfirdnCall& call, int64_t plane, int64_t row, int64_t column, bool is_wide,
                              const compute_t<T> (&values)[kCount]) {
  if (plane >= call.planes || row < 0 || row >= call.out_height) return;
  T* const to = static_cast<T*>(call.output) + (plane * call.out_height + row) * call.out_width + column;
  const int64_t left = call.out_width - column;
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
