// Arguments of the kernels, for CPU and GPU alike. Addresses are the device's; optional ones may be null.
#pragma once

#include "logit_losses.h"
#include "types.h"

namespace fastgan {

// A scalar factor of gradients; a null address means 1.
struct Scale {
  const void* at;
  DType dtype;
};

// Where a kernel writes a scalar.
struct Result {
  void* at;
  DType dtype;
};

// CPU: the number of threads. GPU: the stream handle.
using Where = uintptr_t;

// One contiguous tensor of `size` logits.
struct LossTensor {
  const void* logits;
  int64_t size;
  double label;
  double weight;         // factor of each term: 1, or 1 / size for a mean
  const void* incoming;  // [size] upstream gradients, or null
  void* output;          // [size] terms or gradients, or null
};

struct LossCall {
  Loss loss;
  DType dtype;
  const LossTensor* tensors;
  int count;
  Scale scale;  // factor of the gradients
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += tensors[i].size;
    return all;
  }
};

// Two contiguous tensors of `size` elements.
struct L1Pair {
  const void *x, *y;
  int64_t size;
  double weight;         // factor of each |x - y|: 1 / size for a mean
  void *dx, *dy;         // [size] gradients, or null
  const void* incoming;  // [size] upstream gradients, or null
};

struct L1Call {
  DType dtype;
  const L1Pair* pairs;
  int count;
  Scale scale;  // factor of the gradients
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += pairs[i].size;
    return all;
  }
};

// One tensor of features, [rows, width].
struct HeadTensor {
  const void* features;
  int64_t rows;
  double label;
  double weight;  // factor of each term
  void* slopes;   // d loss / d logit, [rows] in the compute type, or null
  void* grad;     // d loss / d features, [rows, width], or null
};

// The last linear layer of a discriminator (one output), and its loss.
struct HeadCall {
  Loss loss;
  DType dtype;
  const HeadTensor* tensors;
  int count;
  int64_t width;
  const void* weight;  // [width]
  const void* bias;    // one element, or null
  Scale scale;         // factor of slopes and gradients
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += tensors[i].rows * width;
    return all;
  }
};

// A tensor [outer, channels, inner]. inner = 1 means that channels are innermost.
struct LayerShape {
  DType dtype;
  int64_t outer, channels, inner;
  Where where;
};

// The codes of FORMS in fastgan/kernels/acts.py.
enum class ActForm : int { leaky = 0, relu = 1, tanh = 2, sigmoid = 3, elu = 4, softplus = 5, swish = 6 };

// clamp(gain * f(z)); see acts.h.
struct Act {
  ActForm form;
  double alpha;  // of leaky, not negative, and of elu
  double gain;   // of any sign
  double clamp;  // inf: no bound
};

// A backward pass of bias_act over [outer, channels, inner].
struct BiasActGrad {
  const void* cotangent;  // null: dx is dy * f'; otherwise it is cotangent * dy * f''
  const void* dy;
  const void* saved;  // the output, or the input if saves_input(form)
  const void* bias;   // [channels], or null; only read if the input is saved
  void* dx;           // may be dy
  void* grad_bias;    // [channels]: the sum of dx over the other dimensions, or null
};

// The values of KINDS in fastgan/kernels/cpu/activations.py.
enum class ActivationKind : int { none = 0, leaky_relu = 1, tanh = 2, sigmoid = 3, maxout = 4 };

struct Activation {
  ActivationKind kind;
  float negative_slope;  // of a leaky ReLU
  int64_t pieces;        // of a maxout; 1 for others
};

// A contiguous matrix W, and estimates of its singular vectors.
struct SpectralWeight {
  const void* w;  // [rows, columns]
  int64_t rows, columns;
  const void *u, *v;   // [rows], [columns]
  void *new_u, *new_v;  // [rows], [columns]: after the power iterations; null without iterations
  void* scaled;         // [rows, columns]: W / sigma
};

struct SpectralCall {
  DType dtype;
  const SpectralWeight* weights;
  int count;
  double eps;  // the least norm by which a vector is divided
  int iterations;
  bool columns_first;  // an iteration computes v first
  void* sigma;         // [count] in the compute type
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += weights[i].rows * weights[i].columns;
    return all;
  }
};

// The gradient of W, given that of W / sigma.
struct SpectralGrad {
  const void *grad, *w;  // [rows, columns]
  int64_t rows, columns;
  const void *u, *v;  // [rows], [columns]
  void* dw;           // [rows, columns]
};

struct SpectralGradCall {
  DType dtype;
  const SpectralGrad* grads;
  int count;
  const void* sigma;  // [count] in the compute type
  Where where;

  int64_t elements() const {
    int64_t all = 0;
    for (int i = 0; i < count; ++i) all += grads[i].rows * grads[i].columns;
    return all;
  }
};

// A number for each channel, [channels], or null.
struct PerChannel {
  void* at;
  DType dtype;
};

// Batch norm + leaky ReLU over a tensor.
struct BatchNormCall {
  LayerShape shape;
  PerChannel mean, var;     // not null
  PerChannel weight, bias;  // null: 1 and 0
  double eps;
  double negative_slope;
};

// Spans of the output layer of a generator of tables; see fastgan/kernels/spans.py.
struct SpanTables {
  const int32_t* spans;  // [count, 3]: first column, columns, position among the spans of its kind
  int64_t count;
  const int32_t* targets;  // [conditions, 3]: column of the condition, first column of its span, the one after its last
  int64_t conditions;
};

// A matrix whose rows are `stride` elements apart, and whose columns are adjacent.
struct Rows {
  void* at;
  int64_t stride;
};

// tanh, Gumbel-softmax and the cross-entropy of conditions, forward and backward.
struct SpanCall {
  DType dtype;
  int64_t rows, width;
  SpanTables tables;
  double temperature;
  const void* input;          // [rows, width]; backward: null without a gradient of the cross-entropy
  const float* noise;         // [rows, width] uniform in [0, 1), or null
  const int64_t* conditions;  // [rows], or null
  Rows output;                // [rows, width]
  Where where;
};

// A backward pass of spans.
struct SpanGrad {
  Rows incoming;     // [rows, width]
  Scale of_entropy;  // the gradient of the cross-entropy; not read if SpanCall.input is null
  void* input;       // [rows, width]
};

// A batch of rows of an encoded table.
struct TableCall {
  DType dtype;  // of the batch: float32 or float64
  int64_t batch, width, rows;
  SpanTables tables;
  const int32_t* codes;  // [rows, softmax spans]
  const float* values;   // [rows, tanh spans]
  int64_t num_codes, num_values;
  const int32_t* order;  // [discrete columns * rows]
  int64_t order_size;
  const int64_t* starts;      // [conditions + 1]
  const int64_t* conditions;  // [batch], or null
  const float* uniform;       // [batch]
  Rows into;                  // [batch, width + conditions]
  Where where;
};

// Snake of a signal [samples, channels, length], or, if channels are last in memory, [samples, length, channels].
struct SnakeCall {
  DType dtype;
  int64_t samples, channels, length;
  bool channels_last;
  const void* input;
  PerChannel alpha, beta;  // beta null: alpha
  bool log_scale;
  double eps;  // added to beta, or to its exponential
  Where where;
};

// The filters of an anti-aliased Snake, [taps] each.
struct SnakeFilters {
  const void *up, *down;
  DType up_dtype, down_dtype;
  int up_taps, down_taps;  // 2 to 24
};

// Gradients of the input and of alpha and beta, [channels] each; null if not needed.
struct SnakeGrad {
  const void* incoming;  // like the input
  void* input;           // like the input
  PerChannel alpha, beta;
};

// Resampling of images [planes, in_height, in_width, inner]; inner = 1, or the number of channels if they are last.
struct UpfirdnCall {
  DType dtype;
  int64_t planes, in_height, in_width, out_height, out_width, inner;
  const void *input, *filter;  // filter: [filter_height, filter_width], or [filter_width] if separable
  DType filter_dtype;
  int filter_height, filter_width;
  bool separable, flip;  // flip: a correlation is computed
  int up_x, up_y, down_x, down_y;
  int64_t left, top;  // padding; negative: cropped
  double gain;
  void* output;
  Where where;
};

// Three arrays of random numbers. Element i of an array is number begin + i of its kind.
struct DrawCall {
  int64_t* integers;  // uniform in [0, high), high <= 2^31
  float* normal;      // mean 0, variance 1
  float* uniform;     // in [0, 1)
  int64_t sizes[3], begins[3];
  uint64_t high, seed;
  const int64_t* step;
  Where where;
};

}  // namespace fastgan
