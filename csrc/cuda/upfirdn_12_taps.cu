// Images of planes, by separable filters of 12 taps, up 2 or down 2. A block has a tile of a plane. It copies some rows
// of the input at a time to shared memory, and filters them along rows; the results stay there too, in the compute
// type. Then it filters these along columns.
#include "upfirdn.cuh"

namespace fastgan::cuda {
namespace {

constexpr int kTaps = 12;
constexpr int kRowsAtOnce = 32;  // of the input
template <class Axis>
constexpr int kUnits = 4 / Axis::kUp;  // of a thread along a column, in the second pass

// All tiles: each has `columns` outputs of a row, and `units` along a column.
struct Tiles {
  int columns, units;
  int in_rows, in_columns, pitch;  // the tile's input, and words from row to row
  int filtered_pitch;              // words between filtered rows
  int along_row, along_column;
  Units units_x, units_y;
  bool is_wide;

  int64_t elements() const { return int64_t{kRowsAtOnce} * pitch + int64_t{in_rows} * filtered_pitch; }
};

// Where column e of a filtered row is: with 16 bytes after every 32 floats, threads that access 16 bytes at 8 columns
// from each other use different banks.
FASTGAN_HD constexpr int filtered_place(int e) { return e + e / 32 * 4; }

template <class T, class Axis>
Tiles tiles_of(const UpfirdnCall& call) {
  // Of the input: 64 columns and 32 rows at up 2, 128 and 128 at down 2; half of both for double.
  constexpr int kMostColumns = Axis::kUp == 2 ? 128 : 64, kMostUnits = Axis::kUp == 2 ? 32 : sizeof(T) == 8 ? 32 : 64;
  constexpr int kStep = RowWindow<T, Axis>::kStep;
  Tiles t{};
  t.units_x = Units::of<Axis>(call.out_width, call.left);
  t.units_y = Units::of<Axis>(call.out_height, call.top);
  t.columns = kColumns<T, Axis> * fitting(call.out_width, kColumns<T, Axis>, kMostColumns / kColumns<T, Axis>);
  t.units = kUnits<Axis> * fitting(t.units_y.count, kUnits<Axis>, kMostUnits / kUnits<Axis>);
  t.in_rows = t.units * Axis::kDown + Axis::kHalo;
  t.in_columns = t.columns / kColumns<T, Axis> * kStep + Axis::kHalo + Axis::kUp - 1;
  t.pitch = Padded<T, kStep>::pitch(t.in_columns);
  t.filtered_pitch = filtered_place(t.columns - 1) + 1;
  t.along_row = static_cast<int>(ceil_div(call.out_width, t.columns));
  t.along_column = static_cast<int>(ceil_div(t.units_y.count, t.units));
  t.is_wide = are_outputs_aligned(call);
  return t;
}

// Copies kCount adjacent numbers of shared memory, from or to an address that is a multiple of 16 bytes.
template <class A, int kCount>
__device__ void copy(A* to, const A* from) {
  using Words = Vector<A, kVector<A>>;
#pragma unroll
  for (int i = 0; i < kCount; i += kVector<A>)
    *reinterpret_cast<Words*>(to + i) = *reinterpret_cast<const Words*>(from + i);
}

// The first pass, of `rows` rows. tile: [rows, pitch]; filtered: [rows, filtered_pitch]
template <class T, class Axis>
__device__ void filter_rows(const compute_t<T>* tile, const compute_t<T> (&filter)[kTaps], const Tiles& tiles, int rows,
                            bool is_padding_odd, compute_t<T>* filtered) {
  using A = compute_t<T>;
  using Window = RowWindow<T, Axis>;
  A taps[Axis::kUp][Axis::kReach];
#pragma unroll
  for (int i = 0; i < kTaps; ++i)
    taps[i / Axis::kReach][i % Axis::kReach] =
        filter[Window::tap(i / Axis::kReach, i % Axis::kReach, is_padding_odd)];
  const int groups = tiles.columns / kColumns<T, Axis>;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < rows * groups; i += kThreads) {
    const int row = i / groups, x = i % groups;
    Window window;
    window.load(tile + row * tiles.pitch, x, is_padding_odd);
    alignas(16) A sums[kColumns<T, Axis>] = {};
#pragma unroll
    for (int n = 0; n < Axis::kReach; ++n)
#pragma unroll
      for (int j = 0; j < kColumns<T, Axis>; ++j) sums[j] += taps[j % Axis::kUp][n] * window.at(j, n);
    copy<A, kColumns<T, Axis>>(filtered + row * tiles.filtered_pitch + filtered_place(x * kColumns<T, Axis>), sums);
  }
}

// The second pass: stores the tile's outputs. filtered: [in_rows, filtered_pitch]
template <class T, class Axis>
__device__ void filter_columns(const UpfirdnCall& call, const Tiles& tiles, const compute_t<T>* filtered,
                               const compute_t<T> (&filter)[kTaps], int plane, int first_unit, int first_column) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>;
  A taps[kTaps];
#pragma unroll
  for (int i = 0; i < kTaps; ++i) taps[i] = filter[i] * static_cast<A>(call.gain);
  const int groups = tiles.columns / V;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < groups * (tiles.units / kUnits<Axis>); i += kThreads) {
    const int x = i % groups * V, unit = i / groups * kUnits<Axis>;
    const A* from = filtered + unit * Axis::kDown * tiles.filtered_pitch + filtered_place(x);
    A sums[kUnits<Axis>][Axis::kUp][V] = {};
#pragma unroll
    for (int row = 0; row < kUnits<Axis> * Axis::kDown + Axis::kHalo; ++row) {
      alignas(16) A values[V];
      copy<A, V>(values, from);
      from += tiles.filtered_pitch;
#pragma unroll
      for (int u = 0; u < kUnits<Axis>; ++u) {
        const int n = row - u * Axis::kDown;
#pragma unroll
        for (int f = 0; f < Axis::kUp; ++f)
#pragma unroll
          for (int j = 0; j < V; ++j)
            if (n >= 0 && n < Axis::kReach) sums[u][f][j] += taps[Axis::tap(f, n)] * values[j];
      }
    }
#pragma unroll
    for (int each = 0; each < kUnits<Axis> * Axis::kUp; ++each)
      store_outputs<T>(call, plane, tiles.units_y.output + (first_unit + unit) * Axis::kUp + each, first_column + x,
                       tiles.is_wide, sums[each / Axis::kUp][each % Axis::kUp]);
  }
}

// input [planes, in_height, in_width], output [planes, out_height, out_width]
template <class T, class Axis>
__global__ void __launch_bounds__(kThreads, 2) separable_kernel(UpfirdnCall call, Tiles tiles) {
  using A = compute_t<T>;
  constexpr int kStep = RowWindow<T, Axis>::kStep;
  FASTGAN_DYNAMIC_SHARED(A, tile);  // [kRowsAtOnce, pitch], and then [in_rows, filtered_pitch]
  A* const filtered = tile + kRowsAtOnce * tiles.pitch;
  __shared__ FixedTaps<T, kTaps, true> taps;
  taps.load(call);
  unsigned rest = blockIdx.x;
  const int column = next_index(rest, tiles.along_row) * tiles.columns;
  const int unit = next_index(rest, tiles.along_column) * tiles.units, plane = static_cast<int>(rest);
#pragma unroll 1
  for (int row = 0; row < tiles.in_rows; row += kRowsAtOnce) {
    const int rows = tiles.in_rows - row < kRowsAtOnce ? tiles.in_rows - row : kRowsAtOnce;
    const Part part{plane,
                    tiles.units_y.input + unit * Axis::kDown + row,
                    tiles.units_x.input + column / kColumns<T, Axis> * kStep,
                    1,
                    rows,
                    tiles.in_columns};
    __syncthreads();  // the tile may still be read
    Filler<T, kStep>(call, part).fill(tile);
    __syncthreads();
    filter_rows<T, Axis>(tile, taps.at, tiles, rows, (call.left & 1) != 0, filtered + row * tiles.filtered_pitch);
  }
  __syncthreads();
  filter_columns<T, Axis>(call, tiles, filtered, taps.at, plane, unit, column);
}

template <class T, class Axis>
cudaError_t launch(const UpfirdnCall& call) {
  const Tiles tiles = tiles_of<T, Axis>(call);
  const int64_t bytes = tiles.elements() * static_cast<int64_t>(sizeof(compute_t<T>));
  FASTGAN_LAUNCH_WITH_SHARED((separable_kernel<T, Axis>), call.planes * tiles.along_row * tiles.along_column, bytes,
                             call.where, call, tiles);
  return cudaGetLastError();
}

}  // namespace

cudaError_t upfirdn_of_12_taps(const UpfirdnCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    return call.up_x == 2 ? launch<T, Axis<2, 1, kTaps>>(call) : launch<T, Axis<1, 2, kTaps>>(call);
  });
}

}  // namespace fastgan::cuda
