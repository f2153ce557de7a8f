// Images of planes, by filters of 4 x 4 taps. A block copies a tile of the input to shared memory, from which a thread
// computes a few outputs of a few rows: it adds each row that it reads to all outputs that need it, in registers.
#include "upfirdn.cuh"

namespace fastgan::cuda {
namespace {

// Units of a thread along a column.
template <class Axis>
constexpr int kUnits = Axis::kUp == Axis::kDown ? 4 : 2;
// Blocks of a multiprocessor, some of which compute while others wait for memory. At up 2, a thread's sums leave
// registers for two only.
template <class Axis>
constexpr int kBlocks = Axis::kUp == 2 ? 2 : 3;

// A block's threads, and all tiles.
struct Tiles {
  int across, down, planes;  // threads along a row and along a column of a tile, and planes of a tile
  int rows, columns, pitch;  // of the input of a tile; words from row to row
  int along_row, along_column, along_planes;
  Units units_x, units_y;
  bool is_wide;  // the output can be stored 16 bytes at a time

  int64_t blocks() const { return int64_t{along_row} * along_column * along_planes; }
  int64_t elements() const { return int64_t{planes} * rows * pitch; }
};

template <class T, class Axis>
Tiles tiles_of(const UpfirdnCall& call) {
  constexpr int kMostAcross = 16, kMostBytes = 96 * 1024;
  constexpr int kStep = RowWindow<T, Axis>::kStep;
  Tiles t{};
  t.units_x = Units::of<Axis>(call.out_width, call.left);
  t.units_y = Units::of<Axis>(call.out_height, call.top);
  t.across = fitting(call.out_width, kColumns<T, Axis>, kMostAcross < kThreads ? kMostAcross : kThreads);
  t.down = fitting(t.units_y.count, kUnits<Axis>, kThreads / t.across);
  t.rows = t.down * kUnits<Axis> * Axis::kDown + Axis::kHalo;
  t.columns = t.across * kStep + Axis::kHalo + Axis::kUp - 1;
  t.pitch = Padded<T, kStep>::pitch(t.columns);
  t.planes = fitting(call.planes, 1, kThreads / t.across / t.down);
  while (t.planes > 1 && t.elements() * static_cast<int64_t>(sizeof(compute_t<T>)) > kMostBytes) t.planes /= 2;
  t.along_row = static_cast<int>(ceil_div(call.out_width, t.across * kColumns<T, Axis>));
  t.along_column = static_cast<int>(ceil_div(t.units_y.count, t.down * kUnits<Axis>));
  t.along_planes = static_cast<int>(ceil_div(call.planes, t.planes));
  t.is_wide = are_outputs_aligned(call);
  return t;
}

// A thread's outputs: units of rows.
template <class T, class Axis>
struct Outputs {
  using A = compute_t<T>;
  static constexpr int kCount = kColumns<T, Axis>;
  A taps[Axis::kTaps][Axis::kUp][Axis::kReach];  // of even and odd outputs, if they differ
  A sums[kUnits<Axis>][Axis::kUp][kCount] = {};

  __device__ Outputs(const FixedTaps<T, Axis::kTaps, false>& all, bool is_padding_odd) {
#pragma unroll
    for (int i = 0; i < Axis::kTaps * Axis::kTaps; ++i) {
      const int row = i / Axis::kTaps, f = i % Axis::kTaps / Axis::kReach, n = i % Axis::kReach;
      taps[row][f][n] = all.at[row * Axis::kTaps + RowWindow<T, Axis>::tap(f, n, is_padding_odd)];
    }
  }
  // Adds a row to those outputs of a unit that need it: it is row `n` of the unit's window.
  __device__ void add(A (&unit)[Axis::kUp][kCount], int n, const RowWindow<T, Axis>& window) {
#pragma unroll
    for (int f = 0; f < Axis::kUp; ++f)
#pragma unroll
      for (int each = 0; each < Axis::kReach; ++each)
#pragma unroll
        for (int j = 0; j < kCount; ++j)
          unit[f][j] += taps[Axis::tap(f, n)][j % Axis::kUp][each] * window.at(j, each);
  }
  // Row `row` of the thread's input, of all units.
  __device__ void add(int row, const RowWindow<T, Axis>& window) {
#pragma unroll
    for (int u = 0; u < kUnits<Axis>; ++u) {
      const int n = row - u * Axis::kDown;
      if (n >= 0 && n < Axis::kReach) add(sums[u], n, window);
    }
  }
};

// input [planes, in_height, in_width], output [planes, out_height, out_width]
template <class T, class Axis>
__global__ void __launch_bounds__(kThreads, kBlocks<Axis>) planes_kernel(UpfirdnCall call, Tiles tiles) {
  using A = compute_t<T>;
  using Window = RowWindow<T, Axis>;
  constexpr int kRows = kUnits<Axis> * Axis::kDown;  // of the input, from one thread's to the next one's
  FASTGAN_DYNAMIC_SHARED(A, tile);                   // [planes, rows, pitch]
  __shared__ FixedTaps<T, Axis::kTaps, false> taps;
  taps.load(call);
  unsigned rest = blockIdx.x;
  const int tile_x = next_index(rest, tiles.along_row), tile_y = next_index(rest, tiles.along_column);
  const int first_plane = static_cast<int>(rest) * tiles.planes;
  const Part part{first_plane,
                  tiles.units_y.input + tile_y * tiles.down * kRows,
                  tiles.units_x.input + tile_x * tiles.across * Window::kStep,
                  tiles.planes,
                  tiles.rows,
                  tiles.columns};
  Filler<T, Window::kStep>(call, part).fill(tile);
  __syncthreads();
  const int x = static_cast<int>(threadIdx.x) % tiles.across, y = static_cast<int>(threadIdx.x) / tiles.across;
  const int of_plane = y / tiles.down, group = y % tiles.down;
  if (of_plane >= tiles.planes) return;
  const bool is_padding_odd = (call.left & 1) != 0;
  Outputs<T, Axis> outputs(taps, is_padding_odd);
  const A* from = tile + (of_plane * tiles.rows + group * kRows) * tiles.pitch;
#pragma unroll
  for (int row = 0; row < kRows + Axis::kHalo; ++row) {
    Window window;
    window.load(from, x, is_padding_odd);
    outputs.add(row, window);
    from += tiles.pitch;
  }
  const int unit = (tile_y * tiles.down + group) * kUnits<Axis>;
  const int column = (tile_x * tiles.across + x) * kColumns<T, Axis>;
#pragma unroll
  for (int i = 0; i < kUnits<Axis> * Axis::kUp; ++i)
    store_outputs<T>(call, first_plane + of_plane, tiles.units_y.output + unit * Axis::kUp + i, column, tiles.is_wide,
                     outputs.sums[i / Axis::kUp][i % Axis::kUp]);
}

template <class T, class Axis>
cudaError_t launch(const UpfirdnCall& call) {
  const Tiles tiles = tiles_of<T, Axis>(call);
  const int64_t bytes = tiles.elements() * static_cast<int64_t>(sizeof(compute_t<T>));
  FASTGAN_LAUNCH_WITH_SHARED((planes_kernel<T, Axis>), tiles.blocks(), bytes, call.where, call, tiles);
  return cudaGetLastError();
}

}  // namespace

cudaError_t upfirdn_of_planes(const UpfirdnCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (call.up_x == 2) return launch<T, Axis<2, 1, 4>>(call);
    if (call.down_x == 2) return launch<T, Axis<1, 2, 4>>(call);
    return launch<T, Axis<1, 1, 4>>(call);
  });
}

}  // namespace fastgan::cuda
