// A table of inner loops for each instruction set: isa.cpp fills them, dispatch.cpp selects one.
//
// Every function processes one chunk on one thread; losses.cpp and the other callers split tensors into chunks.
#pragma once

#include "../calls.h"

namespace fastgan {

// Sums over one chunk of logits.
struct LossSums {
  double loss = 0;
  double output = 0;
  double saturated = 0;
};

// One chunk of logits.
struct LossChunk {
  Loss loss;
  const void* logits;
  int64_t size;
  double label;
  double scale;          // factor of terms and gradients: weight * upstream gradient of the loss
  const void* incoming;  // [size] upstream gradients, or null
  void* output;          // [size] terms or gradients, for functions that write them
};

// One chunk of a pair of tensors.
struct L1Chunk {
  const void *x, *y;
  int64_t size;
  double scale;          // factor of gradients: weight * upstream gradient of the loss
  const void* incoming;  // [size] upstream gradients, or null
  void *dx, *dy;         // gradients, or null; if streamed, at multiples of 16 bytes
  bool streamed;         // write gradients past the caches
};

// Rows of features, and the linear layer with one output that computes their logits.
struct HeadChunk {
  Loss loss;
  const void* features;  // [rows, width]
  int64_t rows, width;
  const void* weight;  // [width] in the compute type
  double bias, label;
  double scale;  // factor of slopes and gradients
  void* slopes;  // d loss / d logit, [rows] in the compute type, or null
  void* grad;    // d loss / d features, [rows, width], or null
  void* sums;    // [width + 1] in the compute type, or null: gradients of weight and bias, accumulated
};

// Rows of [rows, columns] with a channel for each column, or a plane of one channel as a single row.
struct ActChunk {
  const void* x;
  const void* bias;  // [columns], or one number for a plane; null for a plane without a bias
  void* y;           // like x; may be x
  int64_t rows, columns;
};
struct ActGradChunk {
  const void* cotangent;  // as in BiasActGrad, like dy, or null
  const void *dy, *saved;
  const void* bias;  // [columns], or one number for a plane, or null
  void* dx;          // like dy; may be dy
  int64_t rows, columns;
  void* sums;  // [columns] in the compute type: dx summed over rows, accumulated; not for a plane
};

// A part of a matrix whose columns have one channel each, or (one row, of any stride) of a plane of one channel.
struct NormChunk {
  const void *x, *dy;  // [rows, columns]
  void* output;        // [rows, columns]: y, or dx
  int64_t rows, columns;
  int64_t x_stride, dy_stride, output_stride;  // elements from one row to the next
  const void *mean, *factor, *bias;  // in the compute type: [columns], or one number for a plane
  // dx = factor * g + of_centered * (x - mean) + constant; like mean, or null in evaluation
  const void *of_centered, *constant;
  double negative_slope;
};

// Rows of the output layer of a generator of tables.
struct SpanChunk {
  const SpanCall& call;
  int64_t first, last;
  void *tile, *other;  // scratch in the compute type, [columns of the longest span, kSpanRows] each
};

// A part of a tensor for Snake: rows of `columns` elements (the last one may be shorter), or a plane of one channel.
struct SnakeChunk {
  const void *x, *dy;  // [size]
  void* output;        // [size]: y, or dx, or null
  int64_t size, columns;
  const void *frequency, *inverse;  // a and 1 / b in the compute type: [columns], or one number for a plane
  // [2, columns], or [2] for a plane, in the compute type: sums of dy x sin(2 a x) and of dy sin(a x)^2; or null
  void* sums;
};

constexpr int kMostPhaseTaps = 12;

// A filter from or to a signal of twice the rate, whose even and odd samples are separate arrays. In terms of those,
// sample t of the slower signal depends on even[t - even_shift + i] by even[i], likewise for odd ones.
template <class A>
struct SnakePhases {
  A even[kMostPhaseTaps], odd[kMostPhaseTaps];
  int even_taps, odd_taps, even_shift, odd_shift;
};

// Samples start, ..., start + size - 1 of neighbouring channels' signals.
struct SnakeTile {
  const void *x, *dy;  // sample 0 of the first channel
  void* output;        // likewise: y, or dx, or null
  int64_t start, size, length;
  int64_t stride;                   // from one sample to the next; if 1, there is one channel
  int64_t channels;                 // at most kSnakeChannels
  const void *frequency, *inverse;  // [channels], a and 1 / b in the compute type
  const void *up, *down;            // SnakePhases of the compute type
  int64_t halo;                     // samples needed on either side: half the longest filter, rounded up to 8 or 16
  int64_t repeated;                 // on either side of the whole signal, before upsampling; 0 beyond
  double gain;                      // a bound of the upsampled signal, for a signal within [-1, 1]
  void* sums;                       // [channels, 2] in the compute type, each `sums_stride` after the previous; or null
  int64_t sums_stride;
};

constexpr int kMostUpfirdnTaps = 32;

// How the columns of an image are resampled. Column phases * m + p of the output is the sum, over the taps
// k = first_tap[p], first_tap[p] + up_x, ..., of tap k times column start + step * (m + shift[k]) + residue[slot[k]] of
// the input; start depends on the tile. A line of inputs is split into one array for each slot, in which the inputs of
// one tap are neighbours.
struct UpfirdnPlan {
  UpfirdnCall call;
  const void* across;  // correlation taps in the compute type: [filter_width], or [filter_height, filter_width]
  const void* down;    // [filter_height]; null if the filter is not separable
  // Whether a separable filter is applied down the columns first, for planes: the input is read in place, and lines are
  // split when there are fewer. With channels, splitting is cheap, and rows filtered across are kept for several sums.
  bool down_first;
  int64_t phases, step;
  const int* first_tap;  // [phases]
  int slots, most_shift;
  int64_t residue[kMostUpfirdnTaps];
  int slot[kMostUpfirdnTaps], shift[kMostUpfirdnTaps];
};

// A rectangle of outputs of several planes; the first column is a multiple of plan.phases. It is computed in groups. If
// plan.down_first, these are rows of one plane, or whole planes; otherwise a row of each plane. A line is a row of a
// group in one plane. Several planes have all columns and one channel.
struct UpfirdnTile {
  const UpfirdnPlan& plan;
  const void* input;  // row 0, column 0 of the first plane, at the first channel
  void* output;       // row 0, the tile's first column, likewise
  int64_t planes, row, rows, column, columns, channels;
  int64_t group_planes, group_rows;
  void* scratch;  // room for lines, in the compute type: see upfirdn_sizes.h
};

// c [rows, columns] = a b. Rows or columns of a and of b are contiguous. Optional steps afterwards, in this order:
// add bias, apply the leaky ReLU with its gain and bound, multiply by the slope of the leaky ReLU that gave `output`.
struct Product {
  int64_t rows, columns, depth;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row, b_column;
  float* c;
  int64_t c_row;
  const float* bias = nullptr;  // [columns]
  bool activate = false;
  const float* output = nullptr;  // [rows, columns], strides of c
  float negative_slope = 1;
  float gain = 1;
  float bound = NAN;  // as in csrc/acts.h
  const float* a_scale = nullptr;  // [depth], factors of the columns of a; needs a_row = 1
  const float* packed_b = nullptr;  // b as written by KernelTable.pack, or null
  // [rows]: which of the last `hot_columns` columns of a, whose rows are contiguous, is 1. The others of them are 0.
  // None of them is read. If it is null, all columns are.
  const int64_t* hot = nullptr;
  int64_t hot_columns = 0;

  int64_t dense() const { return hot == nullptr ? depth : depth - hot_columns; }
};

// One chunk of an optimizer's arrays.
struct AdamChunk {
  void* values;
  const void* grads;
  void *exp_avg, *exp_avg_sq;
  int64_t size;
  double beta1, beta2;
  double step, eps;  // of this step: with the corrections of both moments
  double weight_decay;
};
struct SgdChunk {
  void* values;
  const void* grads;
  void* velocity;
  int64_t size;
  double learning_rate, momentum;
};

struct KernelTable {
  const char* name;
  // One entry for each DType.
  LossSums (*loss_sum[4])(const LossChunk&);
  LossSums (*loss_sum_with_stats[4])(const LossChunk&);
  void (*loss_terms[4])(const LossChunk&);
  void (*loss_grad[4])(const LossChunk&);
  LossSums (*loss_sum_and_grad[4])(const LossChunk&);
  LossSums (*loss_sum_and_grad_with_stats[4])(const LossChunk&);

  double (*l1_sum[4])(const L1Chunk&);  // sum of |x - y|
  void (*l1_terms[4])(const L1Chunk&, void* terms);
  void (*l1_grad[4])(const L1Chunk&);
  double (*l1_sum_and_grad[4])(const L1Chunk&);

  LossSums (*head_rows[4])(const HeadChunk&);       // writes slopes and grad only if `sums` is not null
  void (*head_grad_rows[4])(const HeadChunk&);      // grad = scale * slopes * weight

  void (*bias_leaky_rows[4])(const ActChunk&, const Act&);
  void (*bias_leaky_plane[4])(const ActChunk&, const Act&);
  // Those of a leaky ReLU have no cotangent. Return the sum of dx over a plane.
  double (*leaky_grad_rows[4])(const ActGradChunk&, const Act&);
  double (*leaky_grad_plane[4])(const ActGradChunk&, const Act&);
  // The same for any form.
  void (*bias_act_rows[4])(const ActChunk&, const Act&);
  void (*bias_act_plane[4])(const ActChunk&, const Act&);
  double (*act_grad_rows[4])(const ActGradChunk&, const Act&);
  double (*act_grad_plane[4])(const ActGradChunk&, const Act&);

  // Activations of floats; an element's result does not depend on its place in the range. y may be z, and dz may be dy.
  void (*activate)(const float* z, float* y, int64_t count, Activation activation);
  void (*activation_grad)(const float* dy, const float* y, float* dz, int64_t count, Activation activation);
  // y = the largest piece of each unit. z: [rows, pieces, width], y: [rows, width].
  void (*maxout)(const float* z, float* y, int64_t rows, int64_t width, int64_t pieces);
  // dz = dy / ties for the pieces that equal y, 0 for the others.
  void (*maxout_grad)(const float* dy, const float* z, const float* y, float* dz, int64_t rows, int64_t width,
                      int64_t pieces);
  // The change of y with a change of z, [rows, pieces, width]: the mean over the pieces that equal y.
  void (*maxout_tangent)(const float* change, const float* z, const float* y, float* change_of_y, int64_t rows,
                         int64_t width, int64_t pieces);

  double (*inner_product[4])(const void* x, const void* y, int64_t size);
  // sums [columns] in the compute type += factors [rows] times w [rows, columns]
  void (*add_weighted_rows[4])(const void* w, const double* factors, void* sums, int64_t rows, int64_t columns);
  // to = values / divisor; returns the inner product of `values` and `to` as stored.
  double (*divide_vector[4])(const double* values, int64_t size, double divisor, void* to);
  void (*divide[4])(const void* w, void* scaled, int64_t size, double sigma);
  // dw = (grad - inner * u v^T) / sigma over [rows, columns]
  void (*spectral_grad_rows[4])(const void* grad, const void* u, const void* v, void* dw, int64_t rows, int64_t columns,
                                double inner, double sigma);
  // Means and sums of squared deviations of up to kNormColumns columns, or of a plane.
  void (*norm_statistics_rows[4])(const void* x, int64_t stride, int64_t rows, int64_t columns, double* means,
                                  double* squares);
  void (*norm_statistics_plane[4])(const void* x, int64_t size, double* mean, double* squares);
  void (*norm_leaky_relu_rows[4])(const NormChunk&);
  void (*norm_leaky_relu_plane[4])(const NormChunk&);
  // For each column, or for the plane, the sums of g and of g * (x - mean); g = dy * slope.
  void (*norm_grad_sums_rows[4])(const NormChunk&, double* sums, double* of_centered);
  void (*norm_grad_sums_plane[4])(const NormChunk&, double* sums, double* of_centered);
  void (*norm_grad_rows[4])(const NormChunk&);
  void (*norm_grad_plane[4])(const NormChunk&);

  void (*snake_rows[4])(const SnakeChunk&);
  void (*snake_plane[4])(const SnakeChunk&);
  void (*snake_grad_rows[4])(const SnakeChunk&);
  void (*snake_grad_plane[4])(const SnakeChunk&);
  void (*anti_aliased_snake[4])(const SnakeTile&);
  void (*anti_aliased_snake_grad[4])(const SnakeTile&);
  void (*upfirdn_tile[4])(const UpfirdnTile&);

  // Returns the sum of the cross-entropies of its rows; 0 without conditions.
  double (*span_activations[4])(const SpanChunk&);
  // of_entropy: the gradient of the cross-entropy of a row.
  void (*span_grads[4])(const SpanChunk&, const SpanGrad&, double of_entropy);

  // Numbers first, ..., first + count - 1 of a kind; to[0] is number `first`, which may be any.
  void (*draw_integers)(int64_t* to, int64_t first, int64_t count, uint64_t high, uint64_t seed, uint64_t step);
  void (*draw_normal)(float* to, int64_t first, int64_t count, uint64_t seed, uint64_t step);
  void (*draw_uniform)(float* to, int64_t first, int64_t count, uint64_t seed, uint64_t step);
  void (*adam[4])(const AdamChunk&);
  void (*sgd[4])(const SgdChunk&);
  void (*move_average[4])(const void* values, void* average, int64_t size, double weight);
  void (*halve[4])(const void* values, void* halves, int64_t size);  // copies to bfloat16
  double (*sum_of_absolutes[4])(const void* x, int64_t size);
  double (*sum_of_squares[4])(const void* x, int64_t size);

  // Computes some columns of c; first_column is a multiple of kProductPanel. scratch: [(kProductPanel + kRowBlock) *
  // kDepthBlock].
  void (*multiply)(const Product& product, int64_t first_column, int64_t columns, float* scratch);
  // Packs columns and a range of the depth of b, for products with all its columns. packed: [columns rounded up to
  // kProductPanel, depth]; first_column is a multiple of kProductPanel. With few columns it is not read.
  void (*pack)(const Product& product, int64_t first_column, int64_t columns, int64_t first_of_depth, int64_t depth,
               float* packed);
};

// Elements of a chunk: 64 KiB of floats.
constexpr int64_t kChunk = 16384;
FASTGAN_HD int64_t chunks_of(int64_t size) { return (size + kChunk - 1) / kChunk; }
// Independent partial sums of a chunk; the loop over them vectorizes.
constexpr int64_t kLanes = 64;
// Columns of a part of a matrix in batch norm: their sums stay in L1.
constexpr int64_t kNormColumns = 256;
// A tile of an anti-aliased Snake: what it needs of one signal fits in L1.
constexpr int64_t kSnakeTile = 1024;
constexpr int64_t kMostSnakeHalo = 16;
// Neighbouring channels of a tile, if channels are last: a cache line of floats.
constexpr int64_t kSnakeChannels = 16;
// Rows of spans that are computed side by side.
constexpr int64_t kSpanRows = 16;
// Blocks of a product: a panel of B [kDepthBlock, up to kProductPanel] in L1, A [kRowBlock, kDepthBlock] in L2.
constexpr int64_t kProductPanel = 32;
constexpr int64_t kDepthBlock = 256;
constexpr int64_t kRowBlock = 264;
// A sum over the depth is the sum of those over so many blocks of ceil(depth / blocks) each; the last may be shorter.
FASTGAN_HD int64_t depth_blocks(int64_t depth) {
  return depth <= kDepthBlock ? 1 : (depth + kDepthBlock - 1) / kDepthBlock;
}
const KernelTable& kernels();

}  // namespace fastgan
