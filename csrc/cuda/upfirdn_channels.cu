// Images with channels last, by filters of 4 x 4 taps. A thread has 16 bytes of channels of a few neighbouring outputs,
// and adds each vector that it reads to all outputs that need it, in registers. Neighbouring threads have the same
// outputs of other channels; a block has a tile of outputs, so that most of what its threads read twice is in L1.
#include "upfirdn.cuh"

namespace fastgan::cuda {
namespace {

// Units of a thread along a row and along a column.
template <class Axis>
constexpr int kUnitsX = 2 / Axis::kUp;
template <class Axis>
constexpr int kUnitsY = Axis::kUp == Axis::kDown ? 3 : 2;

// A block's threads, and all tiles.
struct Tiles {
  int vectors, across, down;  // threads along channels, along a row and along a column
  int along_channels, along_row, along_column;
  Units units_x, units_y;
};

template <class Axis>
Tiles tiles_of(const UpfirdnCall& call) {
  constexpr int kMostVectors = 8;  // a cache line
  Tiles t{};
  t.units_x = Units::of<Axis>(call.out_width, call.left);
  t.units_y = Units::of<Axis>(call.out_height, call.top);
  const int width = static_cast<int>(16 / bytes_of(call.dtype));
  t.vectors = fitting(call.inner, width, kMostVectors);
  t.across = t.down = 1;
  while (t.vectors * t.across * t.down < kThreads) {
    const bool is_wide = t.across * kUnitsX<Axis> > t.down * kUnitsY<Axis>;
    (is_wide ? t.down : t.across) *= 2;
  }
  t.along_channels = static_cast<int>(ceil_div(call.inner, t.vectors * width));
  t.along_row = static_cast<int>(ceil_div(t.units_x.count, t.across * kUnitsX<Axis>));
  t.along_column = static_cast<int>(ceil_div(t.units_y.count, t.down * kUnitsY<Axis>));
  return t;
}

// A thread's outputs.
template <class T, class Axis>
struct Outputs {
  using A = compute_t<T>;
  static constexpr int V = kVector<T>;
  const FixedTaps<T, Axis::kTaps, false>& taps;
  A sums[kUnitsY<Axis>][Axis::kUp][kUnitsX<Axis>][Axis::kUp][V] = {};

  __device__ explicit Outputs(const FixedTaps<T, Axis::kTaps, false>& all) : taps(all) {}

  // Adds an input of the thread to the outputs that need it.
  __device__ void add(int row, int column, const Raw<T>& input) {
    A values[V];
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] = input.at(i);
#pragma unroll
    for (int y = 0; y < kUnitsY<Axis>; ++y)
#pragma unroll
      for (int x = 0; x < kUnitsX<Axis>; ++x) {
        const int of_y = row - y * Axis::kDown, of_x = column - x * Axis::kDown;
        if (of_y >= 0 && of_y < Axis::kReach && of_x >= 0 && of_x < Axis::kReach) add(y, x, of_y, of_x, values);
      }
  }
  // Adds input of_y, of_x of a unit's window to its outputs.
  __device__ void add(int y, int x, int of_y, int of_x, const A (&values)[V]) {
#pragma unroll
    for (int f = 0; f < Axis::kUp * Axis::kUp; ++f) {
      const int fy = f / Axis::kUp, fx = f % Axis::kUp;
      const A tap = taps.at[Axis::tap(fy, of_y) * Axis::kTaps + Axis::tap(fx, of_x)];
#pragma unroll
      for (int i = 0; i < V; ++i) sums[y][fy][x][fx][i] += tap * values[i];
    }
  }
};

// input [planes, in_height, in_width, inner], output [planes, out_height, out_width, inner]
template <class T, class Axis>
__global__ void __launch_bounds__(kThreads, 2) channels_kernel(UpfirdnCall call, Tiles tiles) {
  using A = compute_t<T>;
  constexpr int V = kVector<T>, kUp = Axis::kUp;
  constexpr int kRows = kUnitsY<Axis> * Axis::kDown, kColumns = kUnitsX<Axis> * Axis::kDown;
  __shared__ FixedTaps<T, Axis::kTaps, false> taps;
  taps.load(call);
  __syncthreads();
  unsigned rest = blockIdx.x, thread = threadIdx.x;
  const int vector = next_index(rest, tiles.along_channels) * tiles.vectors + next_index(thread, tiles.vectors);
  const int x = next_index(rest, tiles.along_row) * tiles.across + next_index(thread, tiles.across);
  const int y = next_index(rest, tiles.along_column) * tiles.down + static_cast<int>(thread);
  const int64_t channel = int64_t{vector} * V, plane = rest;
  if (channel >= call.inner) return;
  Outputs<T, Axis> outputs(taps);
  const int first_row = tiles.units_y.input + y * kRows, first_column = tiles.units_x.input + x * kColumns;
  const int64_t in_plane = call.in_height * call.in_width * call.inner;
  const T* const from = static_cast<const T*>(call.input) + plane * in_plane + channel;
#pragma unroll
  for (int i = 0; i < kRows + Axis::kHalo; ++i) {
    const int row = first_row + i;
    if (row < 0 || row >= call.in_height) continue;
    int64_t at = (row * call.in_width + first_column) * call.inner;
    Raw<T> inputs[kColumns + Axis::kHalo];
#pragma unroll
    for (int j = 0; j < kColumns + Axis::kHalo; ++j) {
      const int column = first_column + j;
      if (column >= 0 && column < call.in_width) inputs[j] = Raw<T>(from + at);
      at += call.inner;
    }
#pragma unroll
    for (int j = 0; j < kColumns + Axis::kHalo; ++j) outputs.add(i, j, inputs[j]);
  }
  T* const to = static_cast<T*>(call.output) + plane * call.out_height * call.out_width * call.inner + channel;
#pragma unroll
  for (int i = 0; i < kUnitsY<Axis> * kUp; ++i)
#pragma unroll
    for (int j = 0; j < kUnitsX<Axis> * kUp; ++j) {
      const int row = tiles.units_y.output + y * kUnitsY<Axis> * kUp + i;
      const int column = tiles.units_x.output + x * kUnitsX<Axis> * kUp + j;
      if (row < 0 || row >= call.out_height || column < 0 || column >= call.out_width) continue;
      const A(&sums)[V] = outputs.sums[i / kUp][i % kUp][j / kUp][j % kUp];
      Vector<T, V> result;
#pragma unroll
      for (int each = 0; each < V; ++each) store(&result.at[each], sums[each]);
      store_vector<T, V>(to + (row * call.out_width + column) * call.inner, result, true);
    }
}

template <class T, class Axis>
cudaError_t launch(const UpfirdnCall& call) {
  const Tiles tiles = tiles_of<Axis>(call);
  const int64_t blocks = call.planes * tiles.along_channels * tiles.along_row * tiles.along_column;
  FASTGAN_LAUNCH((channels_kernel<T, Axis>), blocks, call.where, call, tiles);
  return cudaGetLastError();
}

}  // namespace

cudaError_t upfirdn_of_channels(const UpfirdnCall& call) {
  return with_type(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (call.up_x == 2) return launch<T, Axis<2, 1, 4>>(call);
    if (call.down_x == 2) return launch<T, Axis<1, 2, 4>>(call);
    return launch<T, Axis<1, 1, 4>>(call);
  });
}

}  // namespace fastgan::cuda
