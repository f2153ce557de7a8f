// Runs every CUDA kernel once and checks what it computes against plain loops in double: for sanitizers, which see
// through a program without Python and torch best. On the host with g++, on a GPU with nvcc.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "../../csrc/cuda/adam.h"
#include "../../csrc/cuda/batch_norm.h"
#include "../../csrc/cuda/bias_act.h"
#include "../../csrc/cuda/counters.h"
#include "../../csrc/cuda/draw.h"
#include "../../csrc/cuda/head.h"
#include "../../csrc/cuda/l1.h"
#include "../../csrc/cuda/losses.h"
#include "../../csrc/cuda/record.h"
#include "../../csrc/cuda/snake.h"
#include "../../csrc/cuda/span_activations.h"
#include "../../csrc/cuda/spectral_norm.h"
#include "../../csrc/cuda/table_batches.h"
#include "../../csrc/cuda/upfirdn2d.h"

using namespace fastgan;
using namespace fastgan::cuda;

namespace {

int checks = 0;

void demand(bool holds, const char* what) {
  ++checks;
  if (holds) return;
  printf("wrong: %s\n", what);
  exit(1);
}

void launched(cudaError_t error) { demand(error == cudaSuccess, cudaGetErrorString(error)); }

// An array of exactly `size` elements that kernels and host can read: random ones, or zeros where the seed is 0.
struct Array {
  DType dtype;
  int64_t size;
  void* data = nullptr;

  Array(DType type, int64_t count, unsigned seed = 0) : dtype(type), size(count) {
    launched(cudaMallocManaged(&data, static_cast<size_t>(size * bytes_of(dtype)) + (size == 0)));
    for (int64_t i = 0; i < size; ++i) {
      seed = seed == 0 ? 0 : seed * 1664525u + 1013904223u;
      set(i, seed == 0 ? 0.0 : static_cast<double>(seed >> 8) / (1 << 24) * 6 - 3);
    }
  }
  Array(const Array&) = delete;
  ~Array() { cudaFree(data); }
  double get(int64_t i) const { return load_element(advance(data, i, dtype), dtype); }
  void set(int64_t i, double value) { store_element(advance(data, i, dtype), dtype, value); }
};

// Zeros that kernels and host can read.
template <class I>
struct Integers {
  I* at;
  explicit Integers(int64_t size) {
    void* data = nullptr;
    launched(cudaMallocManaged(&data, static_cast<size_t>(size) * sizeof(I) + (size == 0)));
    at = static_cast<I*>(data);
    for (int64_t i = 0; i < size; ++i) at[i] = 0;
  }
  Integers(const Integers&) = delete;
  ~Integers() { cudaFree(at); }
};
using Whole = Integers<int64_t>;

double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-5 : dtype == DType::f16 ? 2e-3 : 2e-2;
}

void near(double ours, double exact, DType dtype, const char* what) {
  demand(fabs(ours - exact) <= tolerance(dtype) * (1 + fabs(exact)), what);
}

double softplus(double t) { return (t > 0 ? t : 0) + log1p(exp(-fabs(t))); }
double logistic(double t) { return 1 / (1 + exp(-t)); }

// A term of each loss and its slope.
double term(Loss loss, double t, double label) {
  const double side = 1 - 2 * label;
  if (loss == Loss::bce) return label * softplus(-t) + (1 - label) * softplus(t);
  if (loss == Loss::hinge) return fmax(0.0, 1 + side * t);
  return loss == Loss::least_squares ? (t - label) * (t - label) / 2 : side * t;
}
double slope(Loss loss, double t, double label) {
  const double side = 1 - 2 * label;
  if (loss == Loss::bce) return logistic(t) - label;
  if (loss == Loss::hinge) return 1 + side * t > 0 ? side : 0.0;
  return loss == Loss::least_squares ? t - label : side;
}

// Logits with room for their gradients, and a label and a weight for them.
struct Logits {
  Array logits, grads;
  double label, weight;

  Logits(DType dtype, int64_t size, double of, double each)
      : logits(dtype, size, static_cast<unsigned>(size + 1)), grads(dtype, size), label(of), weight(each) {}
  LossTensor tensor(bool with_grad) const {
    return {logits.data, logits.size, label, weight, nullptr, with_grad ? grads.data : nullptr};
  }
  void demand_grads(Loss loss, double scale, const char* what) const {
    for (int64_t i = 0; i < logits.size; ++i)
      near(grads.get(i), scale * weight * slope(loss, logits.get(i), label), logits.dtype, what);
  }
};
using Tensors = std::vector<std::unique_ptr<Logits>>;

Tensors make_tensors(DType dtype, const std::vector<int64_t>& sizes, double label) {
  Tensors tensors;
  for (size_t i = 0; i < sizes.size(); ++i)
    tensors.push_back(std::make_unique<Logits>(dtype, sizes[i], i % 2 == 0 ? label : 0.0, i % 3 == 0 ? 0.5 : -0.25));
  return tensors;
}

std::vector<LossTensor> of_call(const Tensors& tensors, bool with_grad) {
  std::vector<LossTensor> result;
  for (const auto& each : tensors) result.push_back(each->tensor(with_grad));
  return result;
}

LossCall call_of(Loss loss, const std::vector<LossTensor>& tensors, DType dtype, Scale scale = {nullptr, DType::f32}) {
  return {loss, dtype, tensors.data(), static_cast<int>(tensors.size()), scale, 0};
}

// The value and the gradients of any number of tensors, in one pass and apart.
void losses(Loss loss, DType dtype, const std::vector<int64_t>& sizes, double label) {
  const DType compute = compute_type(dtype);
  const Tensors tensors = make_tensors(dtype, sizes, label);
  const int64_t count = static_cast<int64_t>(sizes.size());
  Array total(compute, 1), details(compute, 2 * count + 1), counter(DType::f32, 1), scale(DType::f32, 1);
  Array partials(DType::f64, kWorkspaceBytes / 8);
  scale.set(0, 3.0);
  bool are_small = count <= 2;
  for (const int64_t size : sizes) are_small = are_small && size * bytes_of(dtype) <= kTileBytes;
  double exact = 0, magnitude = 0;
  std::vector<double> shares;
  for (const auto& each : tensors) {
    double sum = 0;
    for (int64_t i = 0; i < each->logits.size; ++i) {
      const double here = each->weight * term(loss, each->logits.get(i), each->label);
      sum += here;
      magnitude += fabs(here);
    }
    shares.push_back(sum);
    exact += sum;
  }
  for (const bool with_grad : {false, true})
    for (const bool detailed : {false, true}) {
      const auto of = of_call(tensors, with_grad);
      const Workspace workspace{are_small ? nullptr : partials.data, static_cast<unsigned*>(counter.data)};
      launched(loss_forward(call_of(loss, of, dtype), workspace, {total.data, compute},
                            detailed ? details.data : nullptr));
      launched(cudaDeviceSynchronize());
      demand(fabs(total.get(0) - exact) <= tolerance(compute) * (1 + magnitude), "a loss");
    }
  for (int64_t i = 0; i < count; ++i)
    demand(fabs(details.get(i) - shares[static_cast<size_t>(i)]) <= tolerance(compute) * (1 + magnitude),
           "a tensor's share in a loss");
  for (const auto& each : tensors) each->demand_grads(loss, 1.0, "its gradient");
  const auto of = of_call(tensors, true);
  launched(loss_backward(call_of(loss, of, dtype, {scale.data, scale.dtype}), false));
  launched(cudaDeviceSynchronize());
  for (const auto& each : tensors) each->demand_grads(loss, 3.0, "its backward pass");
}

// The terms of one tensor, and their gradients.
void loss_of_each(Loss loss, DType dtype, int64_t size, double label) {
  Array logits(dtype, size, 30), terms(dtype, size), grads(dtype, size);
  const LossTensor forward{logits.data, size, label, 1.0, nullptr, terms.data};
  const LossTensor backward{logits.data, size, label, 1.0, terms.data, grads.data};
  launched(loss_terms(call_of(loss, {forward}, dtype)));
  launched(loss_backward(call_of(loss, {backward}, dtype), false));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < size; ++i) {
    near(terms.get(i), term(loss, logits.get(i), label), dtype, "a term");
    near(grads.get(i), terms.get(i) * slope(loss, logits.get(i), label), dtype, "the backward pass of a term");
  }
}

// Gradients that are there for an incoming 1: left alone where it is 1, else computed from the logits.
void kept_gradients(DType dtype, const std::vector<int64_t>& sizes) {
  const Tensors tensors = make_tensors(dtype, sizes, 1.0);
  const auto of = of_call(tensors, true);
  Array scale(DType::f32, 1);
  for (const double factor : {1.0, 3.0}) {
    scale.set(0, factor);
    launched(loss_backward(call_of(Loss::bce, of, dtype, {scale.data, scale.dtype}), true));
    launched(cudaDeviceSynchronize());
    for (const auto& each : tensors) each->demand_grads(Loss::bce, factor == 1 ? 0 : factor, "a kept gradient");
  }
}

// Pairs of these sizes, each with another weight; their loss and gradients, then terms of the first.
void l1(DType dtype, const std::vector<int64_t>& sizes) {
  struct Of {
    Array x, y, dx, dy;
    double weight;
    Of(DType type, int64_t n, unsigned seed)
        : x(type, n, 10 + seed), y(type, n, 50 + seed), dx(type, n), dy(type, n), weight((1.0 + seed) / static_cast<double>(n)) {}
  };
  std::vector<std::unique_ptr<Of>> each;
  double exact = 0;
  const auto slope = [](const Of& of, int64_t i) {
    return of.x.get(i) > of.y.get(i) ? 1.0 : of.x.get(i) < of.y.get(i) ? -1.0 : 0.0;
  };
  for (const int64_t n : sizes) {
    each.push_back(std::make_unique<Of>(dtype, n, static_cast<unsigned>(each.size())));
    for (int64_t i = 0; i < n; ++i) exact += each.back()->weight * fabs(each.back()->x.get(i) - each.back()->y.get(i));
  }
  Array loss(compute_type(dtype), 1), partials(DType::f64, kWorkspaceBytes / 8), counter(DType::f32, 1);
  const Workspace workspace{partials.data, static_cast<unsigned*>(counter.data)};
  const auto pairs_of = [&](bool with_x, bool with_y) {
    std::vector<L1Pair> pairs;
    for (size_t i = 0; i < sizes.size(); ++i)
      pairs.push_back({each[i]->x.data, each[i]->y.data, sizes[i], each[i]->weight, with_x ? each[i]->dx.data : nullptr,
                       with_y ? each[i]->dy.data : nullptr, nullptr});
    return pairs;
  };
  const auto call_of = [&](const std::vector<L1Pair>& pairs, void* scale) {
    return L1Call{dtype, pairs.data(), static_cast<int>(pairs.size()), {scale, loss.dtype}, 0};
  };
  for (const auto& pairs : {pairs_of(false, false), pairs_of(false, true), pairs_of(true, true)}) {
    launched(l1_loss(call_of(pairs, nullptr), workspace, {loss.data, loss.dtype}));
    launched(cudaDeviceSynchronize());
    near(loss.get(0), exact, dtype, "L1 loss");
  }
  const auto demand_gradients = [&](double factor, const char* what) {
    for (size_t which = 0; which < sizes.size(); ++which)
      for (int64_t i = 0; i < sizes[which]; ++i) {
        const Of& of = *each[which];
        near(of.dx.get(i) / of.weight, factor * slope(of, i), dtype, what);
        demand(of.dy.get(i) == -of.dx.get(i), what);
      }
  };
  demand_gradients(1, "gradient of the L1 loss");
  const auto both = pairs_of(true, true);
  launched(l1_backward(call_of(both, loss.data)));
  launched(cudaDeviceSynchronize());
  demand_gradients(loss.get(0), "backward pass of the L1 loss");
  const Of& first = *each[0];
  Array terms(dtype, sizes[0]), incoming(dtype, sizes[0], 12);
  const std::vector<L1Pair> alone{{first.x.data, first.y.data, sizes[0], 1.0, first.dx.data, nullptr, incoming.data}};
  launched(l1_terms(call_of({pairs_of(false, false)[0]}, nullptr), terms.data));
  launched(l1_backward(call_of(alone, nullptr)));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < sizes[0]; ++i) {
    near(terms.get(i), fabs(first.x.get(i) - first.y.get(i)), dtype, "terms of the L1 loss");
    near(first.dx.get(i), incoming.get(i) * slope(first, i), dtype, "backward pass of the terms");
  }
}

// f, its slope from t: f(z), or z for swish; and the slope's derivative with respect to t.
struct Formulas {
  double value, slope, curvature;
};

Formulas formulas(const Act& act, double z, double t) {
  const double s = logistic(t), e = exp(-t);
  switch (act.form) {
    case ActForm::leaky: return {z > 0 ? z : act.alpha * z, t > 0 ? 1 : act.alpha, 0};
    case ActForm::relu: return {z > 0 ? z : 0, t > 0 ? 1.0 : 0.0, 0};
    case ActForm::tanh: return {tanh(z), 1 - t * t, -2 * t};
    case ActForm::sigmoid: return {logistic(z), t * (1 - t), 1 - 2 * t};
    case ActForm::elu: return {z > 0 ? z : act.alpha * expm1(z), t > 0 ? 1 : t + act.alpha, t > 0 ? 0.0 : 1.0};
    case ActForm::softplus: return {softplus(z), 1 - e, e};
    case ActForm::swish: return {z * logistic(z), s * (1 + t * (1 - s)), s * (1 - s) * (2 + t * (1 - 2 * s))};
  }
  return {};
}

// Bias and activation, its backward pass and the second derivative, with and without the bias gradient.
void layer(DType dtype, const Act& act, int64_t outer, int64_t channels, int64_t inner) {
  const LayerShape shape{dtype, outer, channels, inner, 0};
  const int64_t size = outer * channels * inner;
  const bool saves_input = act.form == ActForm::swish;
  Array x(dtype, size, 3), bias(dtype, channels, 4), y(dtype, size), v(dtype, size, 6);
  Array dy(dtype, size, 5), dx(dtype, size), db(dtype, channels);
  const LayerWorkspace room = layer_workspace(shape);
  Array sums(compute_type(dtype), room.sums), counters(DType::f32, room.counters);
  launched(bias_act(shape, act, x.data, bias.data, y.data));
  const auto bounded = [&](double value) { return fmax(-act.clamp, fmin(act.clamp, value)); };
  const auto demand_grads = [&](bool curved, bool with_bias) {
    const BiasActGrad grad{curved ? v.data : nullptr, dy.data, saves_input ? x.data : y.data, bias.data, dx.data,
                           with_bias ? db.data : nullptr};
    launched(bias_act_backward(shape, act, grad, sums.data, static_cast<unsigned*>(counters.data)));
    launched(cudaDeviceSynchronize());
    std::vector<double> exact(static_cast<size_t>(channels)), magnitude(exact);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t channel = i / inner % channels;
      const double z = x.get(i) + bias.get(channel);
      const Formulas f = formulas(act, z, saves_input ? z : y.get(i) / act.gain);
      near(y.get(i), bounded(act.gain * f.value), dtype, "bias and activation");
      const double bend = v.get(i) * f.curvature * (saves_input ? act.gain : 1);
      const double factor = curved ? bend : act.gain * f.slope;
      const double masked = fabs(saves_input ? act.gain * f.value : y.get(i)) >= act.clamp ? 0 : dy.get(i) * factor;
      near(dx.get(i), masked, dtype, "its backward pass");
      exact[static_cast<size_t>(channel)] += masked;
      magnitude[static_cast<size_t>(channel)] += fabs(masked);
    }
    for (int64_t c = 0; with_bias && c < channels; ++c) {
      const size_t at = static_cast<size_t>(c);
      demand(fabs(db.get(c) - exact[at]) <= tolerance(dtype) * (1 + magnitude[at]), "its bias gradient");
    }
  };
  for (const bool curved : {false, true})
    for (const bool with_bias : {false, true}) demand_grads(curved, with_bias);
}

// Matrices of these sizes: an iteration in either order, then sigma alone from its vectors, and the gradients.
void spectral_norms(DType dtype, const std::vector<std::pair<int64_t, int64_t>>& sizes, bool columns_first) {
  struct Of {
    int64_t rows, columns;
    Array w, u, v, new_u, new_v, scaled, again, grad, dw;
    Of(DType type, int64_t r, int64_t c, unsigned seed)
        : rows(r), columns(c), w(type, r * c, seed), u(type, r, 2 * seed), v(type, c, 3 * seed), new_u(type, r),
          new_v(type, c), scaled(type, r * c), again(type, r * c), grad(type, r * c, 5 * seed), dw(type, r * c) {}

    void demand_product(const Array& by, const Array& result, bool is_of_rows) const {
      std::vector<double> product(static_cast<size_t>(result.size));
      double squares = 0;
      for (int64_t i = 0; i < w.size; ++i)
        product[static_cast<size_t>(is_of_rows ? i / columns : i % columns)] +=
            w.get(i) * by.get(is_of_rows ? i % columns : i / columns);
      for (const double each : product) squares += each * each;
      for (int64_t i = 0; i < result.size; ++i)
        near(result.get(i), product[static_cast<size_t>(i)] / sqrt(squares), w.dtype, "a normalized product");
    }
  };
  const DType compute = compute_type(dtype);
  const int count = static_cast<int>(sizes.size());
  std::vector<std::unique_ptr<Of>> all;
  std::vector<SpectralWeight> trained, evaluated;
  std::vector<SpectralGrad> grads;
  for (const auto& [rows, columns] : sizes) {
    all.push_back(std::make_unique<Of>(dtype, rows, columns, static_cast<unsigned>(20 + all.size())));
    const Of& of = *all.back();
    trained.push_back({of.w.data, rows, columns, of.u.data, of.v.data, of.new_u.data, of.new_v.data, of.scaled.data});
    evaluated.push_back({of.w.data, rows, columns, of.new_u.data, of.new_v.data, nullptr, nullptr, of.again.data});
    grads.push_back({of.grad.data, of.w.data, rows, columns, of.new_u.data, of.new_v.data, of.dw.data});
  }
  Array sigma(compute, count), same(compute, count), counters(DType::f32, count);
  const SpectralCall train{dtype, trained.data(), count, 1e-12, 1, columns_first, sigma.data, 0};
  Array partials(compute, spectral_workspace(train));
  const Workspace workspace{partials.data, static_cast<unsigned*>(counters.data)};
  launched(spectral_norm(train, workspace));
  launched(spectral_norm({dtype, evaluated.data(), count, 1e-12, 0, columns_first, same.data, 0}, workspace));
  launched(spectral_norm_backward({dtype, grads.data(), count, sigma.data, 0}, partials.data));
  launched(cudaDeviceSynchronize());
  for (int which = 0; which < count; ++which) {
    const Of& of = *all[static_cast<size_t>(which)];
    of.demand_product(columns_first ? of.new_v : of.v, of.new_u, true);
    of.demand_product(columns_first ? of.u : of.new_u, of.new_v, false);
    double exact = 0, inner = 0;
    for (int64_t i = 0; i < of.w.size; ++i) {
      exact += of.new_u.get(i / of.columns) * of.w.get(i) * of.new_v.get(i % of.columns);
      inner += of.w.get(i) * of.grad.get(i);
    }
    near(sigma.get(which), exact, compute, "sigma after an iteration");
    near(same.get(which), exact, compute, "sigma of given vectors");
    for (int64_t i = 0; i < of.w.size; ++i) {
      const double outer = of.new_u.get(i / of.columns) * of.new_v.get(i % of.columns);
      near(of.scaled.get(i), of.w.get(i) / exact, dtype, "a weight over its spectral norm");
      near(of.again.get(i), of.w.get(i) / exact, dtype, "the same without an iteration");
      near(of.dw.get(i), (of.grad.get(i) - inner / exact * outer) / exact, dtype, "the gradient of the weight");
    }
  }
}

// Batch norm + leaky ReLU over [outer, channels, inner], with numbers of channels in both dtypes. Between the rows of y
// and dy are `gap` elements, for inner = 1.
struct BatchNorm {
  DType dtype;
  int64_t outer, channels, inner, gap;
  DType compute = compute_type(dtype);
  int64_t size = outer * channels * inner, count = outer * inner;
  LayerShape shape{dtype, outer, channels, inner, 0};
  LayerWorkspace room = layer_workspace(shape);
  int64_t stride = channels + gap;
  Array x{dtype, size, 3}, dy{dtype, outer * stride * inner, 5}, y{dtype, outer * stride * inner}, dx{dtype, size};
  Array mean{compute, channels}, var{compute, channels}, weight{dtype, channels, 4}, bias{compute, channels, 6};
  Array dweight{compute, channels}, dbias{dtype, channels}, averages{compute, 2 * channels};
  Array partials{compute, 3 * room.sums}, counters{DType::f32, room.counters};
  BatchNormWorkspace workspace{partials.data, static_cast<unsigned*>(counters.data)};
  BatchNormCall call{shape, of(mean), of(var), of(weight), of(bias), 1e-5, 0.2};

  static PerChannel of(const Array& numbers) { return {numbers.data, numbers.dtype}; }
  int64_t with_gaps(int64_t i) const { return i + i / channels * gap; }
  double normalized(int64_t i) const {
    const int64_t channel = i / inner % channels;
    return (x.get(i) - mean.get(channel)) / sqrt(var.get(channel) + 1e-5);
  }

  void statistics() {
    Array running_mean(dtype, channels, 7), mean_before(dtype, channels, 7);
    Array running_var(compute, channels, 8), var_before(compute, channels, 8);
    launched(batch_norm_statistics(shape, x.data, mean.data, var.data, of(running_mean), of(running_var), 0.25,
                                   workspace));
    launched(cudaDeviceSynchronize());
    const double n = static_cast<double>(count);
    std::vector<double> exact_mean(static_cast<size_t>(channels)), exact_var(exact_mean);
    const auto channel_of = [this](int64_t i) { return static_cast<size_t>(i / inner % channels); };
    for (int64_t i = 0; i < size; ++i) exact_mean[channel_of(i)] += x.get(i) / n;
    for (int64_t i = 0; i < size; ++i) {
      const double distance = x.get(i) - exact_mean[channel_of(i)];
      exact_var[channel_of(i)] += distance * distance / n;
    }
    for (int64_t c = 0; c < channels; ++c) {
      const double batch_mean = exact_mean[static_cast<size_t>(c)], batch_var = exact_var[static_cast<size_t>(c)];
      near(mean.get(c), batch_mean, compute, "a mean");
      near(var.get(c), batch_var, compute, "a variance");
      near(running_mean.get(c), 0.75 * mean_before.get(c) + 0.25 * batch_mean, dtype, "a running mean");
      const double unbiased = batch_var * n / (n - 1);
      near(running_var.get(c), 0.75 * var_before.get(c) + 0.25 * unbiased, compute, "a running variance");
    }
  }

  void forward() {
    launched(batch_norm_leaky_relu(call, x.data, {y.data, stride}));
    launched(cudaDeviceSynchronize());
    for (int64_t i = 0; i < size; ++i) {
      const int64_t channel = i / inner % channels;
      const double z = normalized(i) * weight.get(channel) + bias.get(channel);
      near(y.get(with_gaps(i)), z > 0 ? z : 0.2 * z, dtype, "batch norm + leaky ReLU");
    }
  }

  void backward(bool training, bool with_dx, bool with_sums) {
    const PerChannel none{nullptr, dtype};
    const BatchNormGradients to{with_dx ? dx.data : nullptr, with_sums ? of(dweight) : none,
                                with_sums ? of(dbias) : none, training && with_dx ? averages.data : nullptr};
    launched(batch_norm_leaky_relu_backward(call, {dy.data, stride}, x.data, to, workspace));
    launched(cudaDeviceSynchronize());
    const auto incoming = [this](int64_t i) { return dy.get(with_gaps(i)) * (y.get(with_gaps(i)) > 0 ? 1.0 : 0.2); };
    std::vector<double> of_g(static_cast<size_t>(channels)), of_products(of_g), magnitude(of_g);
    for (int64_t i = 0; i < size; ++i) {
      const size_t channel = static_cast<size_t>(i / inner % channels);
      const double g = incoming(i);
      of_g[channel] += g;
      of_products[channel] += g * normalized(i);
      magnitude[channel] += fabs(g) * (1 + fabs(normalized(i)));
    }
    for (int64_t i = 0; with_dx && i < size; ++i) {
      const int64_t channel = i / inner % channels;
      const size_t c = static_cast<size_t>(channel);
      const double through = training ? (of_g[c] + normalized(i) * of_products[c]) / static_cast<double>(count) : 0;
      const double factor = weight.get(channel) / sqrt(var.get(channel) + 1e-5);
      near(dx.get(i), factor * (incoming(i) - through), dtype, "batch norm's backward pass");
    }
    for (int64_t c = 0; with_sums && c < channels; ++c) {
      const size_t at = static_cast<size_t>(c);
      demand(fabs(dweight.get(c) - of_products[at]) <= tolerance(compute) * (1 + magnitude[at]), "its weight gradient");
      demand(fabs(dbias.get(c) - of_g[at]) <= tolerance(dtype) * (1 + magnitude[at]), "its bias gradient");
    }
  }
};

void batch_norm(DType dtype, int64_t outer, int64_t channels, int64_t inner, int64_t gap = 0) {
  BatchNorm norm{dtype, outer, channels, inner, gap};
  norm.statistics();
  norm.forward();
  norm.backward(true, true, true);
  norm.backward(true, true, false);
  norm.backward(true, false, true);
  norm.backward(false, true, true);
  norm.backward(false, true, false);
}

void head(Loss loss, DType dtype, const std::vector<int64_t>& rows, int64_t width) {
  struct Features {
    Array features, slopes, grad, again;
    double label, weight;
  };
  const DType compute = compute_type(dtype);
  Array weight(dtype, width, 8), bias(dtype, 1, 9), one(DType::f32, 1);
  Array dw(compute, width), db(compute, 1), total(compute, 1);
  Array details(compute, 2 * static_cast<int64_t>(rows.size()) + 1);
  one.set(0, 1.0);
  std::vector<std::unique_ptr<Features>> all;
  std::vector<HeadTensor> tensors;
  double exact = 0, exact_db = 0;
  std::vector<double> exact_dw(static_cast<size_t>(width));
  for (const int64_t n : rows) {
    const double label = tensors.size() % 2 == 0 ? 1.0 : 0.0, share = 1.0 / static_cast<double>(n);
    const unsigned seed = static_cast<unsigned>(6 + tensors.size());
    all.emplace_back(new Features{{dtype, n * width, seed}, {compute, n}, {dtype, n * width}, {dtype, n * width}, label, share});
    Features& f = *all.back();
    tensors.push_back({f.features.data, n, label, share, f.slopes.data, f.grad.data});
  }
  const HeadCall call{loss, dtype, tensors.data(), static_cast<int>(tensors.size()), width, weight.data, bias.data,
                      {nullptr, DType::f32}, 0};
  const HeadWorkspace room = head_workspace(call);
  Array sums(compute, room.sums), counters(DType::f32, room.counters);
  launched(head_loss(call, {sums.data, static_cast<unsigned*>(counters.data)}, {total.data, compute}, details.data,
                     {dw.data, compute}, {db.data, compute}));
  for (const auto& f : all) {
    const HeadTensor tensor{nullptr, f->slopes.size, 0.0, 1.0, f->slopes.data, f->again.data};
    launched(head_grad({loss, dtype, &tensor, 1, width, weight.data, nullptr, {one.data, one.dtype}, 0}));
  }
  launched(cudaDeviceSynchronize());
  for (const auto& f : all) {
    for (int64_t row = 0; row < f->slopes.size; ++row) {
      double t = bias.get(0);
      for (int64_t i = 0; i < width; ++i) t += f->features.get(row * width + i) * weight.get(i);
      const double exact_slope = f->weight * slope(loss, t, f->label);
      exact += f->weight * term(loss, t, f->label);
      exact_db += exact_slope;
      near(f->slopes.get(row) / f->weight, exact_slope / f->weight, compute, "a slope of the head");
      for (int64_t i = 0; i < width; ++i)
        exact_dw[static_cast<size_t>(i)] += exact_slope * f->features.get(row * width + i);
    }
    for (int64_t i = 0; i < f->grad.size; ++i) {
      near(f->grad.get(i), f->slopes.get(i / width) * weight.get(i % width), dtype, "the head's features");
      near(f->again.get(i), f->grad.get(i), dtype, "the head's backward pass");
    }
  }
  near(total.get(0), exact, compute, "the head's loss");
  near(db.get(0), exact_db, compute, "the head's db");
  for (int64_t i = 0; i < width; ++i) near(dw.get(i), exact_dw[static_cast<size_t>(i)], compute, "the head's dw");
}

// Snake with beta, of numbers or of logarithms, and its gradients; anti-aliased if there are taps.
struct Snake {
  DType dtype;
  int64_t samples, channels, length;
  bool channels_last, log_scale;
  int up_taps, down_taps;  // 0: plain
  DType compute = compute_type(dtype);
  int64_t size = samples * channels * length, count = up_taps > 0 ? 2 * length : length;
  Array x{dtype, size, 3}, dy{dtype, size, 5}, y{dtype, size}, dx{dtype, size};
  Array alpha{compute, channels, 7}, beta{compute, channels, 8}, dalpha{compute, channels}, dbeta{compute, channels};
  Array up{compute, up_taps, 9}, down{compute, down_taps, 10};
  SnakeCall call{dtype, samples, channels, length, channels_last, x.data, of(alpha), of(beta), log_scale, 0.25, 0};
  SnakeFilters filters{up.data, down.data, compute, compute, up_taps, down_taps};
  SnakeGrad grad{dy.data, dx.data, of(dalpha), of(dbeta)};

  static PerChannel of(const Array& numbers) { return {numbers.data, numbers.dtype}; }
  int64_t at(int64_t sample, int64_t channel, int64_t t) const {
    return channels_last ? (sample * length + t) * channels + channel : (sample * channels + channel) * length + t;
  }
  static int64_t within(int64_t i, int64_t end) { return i < 0 ? 0 : i < end ? i : end - 1; }
  // Calls work(n, t, factor) for each sample of x that the upsampled signal is a sum of.
  template <class Work>
  void for_upsampled(const Work& work) const {
    if (up_taps == 0)
      for (int64_t t = 0; t < length; ++t) work(t, t, 1.0);
    const int64_t past = up_taps / 2 - 1, first = (up_taps - 2) / 2;
    for (int64_t n = 0; n < count && up_taps > 0; ++n)
      for (int64_t t = -past; t < length + past; ++t) {
        const int64_t k = n + first - 2 * t;
        if (k >= 0 && k < up_taps) work(n, within(t, length), 2 * up.get(k));
      }
  }
  // The same for samples of y and of the activated signal.
  template <class Work>
  void for_downsampled(const Work& work) const {
    for (int64_t t = 0; t < length; ++t) {
      if (down_taps == 0) work(t, t, 1.0);
      for (int64_t k = 0; k < down_taps; ++k) work(t, within(2 * t + k - (down_taps - 1) / 2, count), down.get(k));
    }
  }

  void run() {
    for (int64_t c = 0; c < channels; ++c) alpha.set(c, alpha.get(c) / 3);
    for (int64_t c = 0; c < channels && !log_scale; ++c) beta.set(c, 3.5 + beta.get(c));
    for (Array* const taps : {&up, &down})
      for (int64_t k = 0; k < taps->size; ++k) taps->set(k, taps->get(k) / static_cast<double>(taps->size));
    const bool plain = up_taps == 0;
    Array partials(compute, plain ? snake_partials(call) : anti_aliased_snake_partials(call, filters));
    launched(plain ? snake(call, y.data) : anti_aliased_snake(call, filters, y.data));
    launched(plain ? snake_backward(call, grad, partials.data)
                   : anti_aliased_snake_backward(call, filters, grad, partials.data));
    launched(cudaDeviceSynchronize());
    for (int64_t c = 0; c < channels; ++c) demand_channel(c);
  }
  void demand_channel(int64_t c) const {
    const double a = log_scale ? exp(alpha.get(c)) : alpha.get(c);
    const double scaled = log_scale ? exp(beta.get(c)) : beta.get(c), b = scaled + 0.25;
    double of_alpha = 0, of_beta = 0, magnitude = 0;
    for (int64_t sample = 0; sample < samples; ++sample) {
      std::vector<double> u(static_cast<size_t>(count)), dv(u), result(static_cast<size_t>(length)), back(result);
      for_upsampled([&](int64_t n, int64_t t, double factor) { u[n] += factor * x.get(at(sample, c, t)); });
      for_downsampled([&](int64_t t, int64_t n, double factor) {
        result[t] += factor * (u[n] + pow(sin(a * u[n]), 2) / b);
        dv[n] += factor * dy.get(at(sample, c, t));
      });
      for (int64_t n = 0; n < count; ++n) {
        of_alpha += dv[n] * u[n] * sin(2 * a * u[n]) / b * (log_scale ? a : 1);
        of_beta -= dv[n] * pow(sin(a * u[n]) / b, 2) * (log_scale ? scaled : 1);
        magnitude += fabs(dv[n]) * (1 + fabs(u[n])) * (1 + a) / b * (1 + 1 / b);
      }
      for_upsampled([&](int64_t n, int64_t t, double factor) {
        back[t] += factor * dv[n] * (1 + a * sin(2 * a * u[n]) / b);
      });
      for (int64_t t = 0; t < length; ++t) {
        near(y.get(at(sample, c, t)), result[t], dtype, "Snake");
        near(dx.get(at(sample, c, t)) / 10, back[t] / 10, dtype, "its backward pass");
      }
    }
    demand(fabs(dalpha.get(c) - of_alpha) <= tolerance(dtype) * (1 + magnitude), "its alpha gradient");
    demand(fabs(dbeta.get(c) - of_beta) <= tolerance(dtype) * (1 + magnitude), "its beta gradient");
  }
};

// A resampled image. There are as many taps along both axes.
struct Resampled {
  DType dtype;
  int64_t planes, height, width, channels;  // channels: 1, or their number if they are last
  int taps;
  bool separable;
  int up, down;
  int64_t padding;  // on all sides
  bool flip = true;
  int64_t out_height = (height * up + 2 * padding - taps) / down + 1;
  int64_t out_width = (width * up + 2 * padding - taps) / down + 1;
  Array x{dtype, planes * height * width * channels, 3}, y{dtype, planes * out_height * out_width * channels};
  Array filter{compute_type(dtype), separable ? taps : taps * taps, 5};

  double tap(int64_t i) const { return filter.get(flip ? i : filter.size - 1 - i); }
  double tap(int64_t i, int64_t j) const { return separable ? tap(i) * tap(j) : tap(i * taps + j); }
  // Calls work(i, k) for each tap of output o along an axis, with the index of its input.
  template <class Work>
  void for_taps(int64_t o, int64_t size, const Work& work) const {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t at = o * down + k - padding;
      if (at >= 0 && at % up == 0 && at / up < size) work(at / up, k);
    }
  }
  void demand_output(int64_t plane, int64_t row, int64_t column, int64_t channel) const {
    double sum = 0, magnitude = 0;
    for_taps(row, height, [&](int64_t i, int64_t ky) {
      for_taps(column, width, [&](int64_t j, int64_t kx) {
        const double term = 0.5 * tap(ky, kx) * x.get(((plane * height + i) * width + j) * channels + channel);
        sum += term;
        magnitude += fabs(term);
      });
    });
    const double ours = y.get(((plane * out_height + row) * out_width + column) * channels + channel);
    demand(fabs(ours - sum) <= tolerance(dtype) * (1 + magnitude), "a resampled image");
  }
  void run() const {
    launched(upfirdn2d({dtype, planes, height, width, out_height, out_width, channels, x.data, filter.data,
                        filter.dtype, taps, taps, separable, flip, up, up, down, down, padding, padding, 0.5, y.data,
                        0}));
    launched(cudaDeviceSynchronize());
    for (int64_t at = 0; at < y.size; ++at)
      demand_output(at / channels / out_width / out_height, at / channels / out_width % out_height,
                    at / channels % out_width, at % channels);
  }
};

// The slot that a new graph takes, and the graph, instantiated.
struct Captured {
  int slot = -1;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;

  explicit Captured(cudaStream_t stream) {
    launched(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    demand(capture_id(stream) != 0, "a capture has a number");
    slot = take_slot(0, stream);
    launched(cudaStreamEndCapture(stream, &graph));
    launched(cudaGraphInstantiate(&exec, graph, 0));
  }
};

// CUDA gives a slot back from a thread of its own, soon.
bool comes_back(int slot, cudaStream_t stream) {
  for (int tries = 0; tries < 1000; ++tries) {
    const int found = take_slot(0, stream);
    if (found == slot) return true;
    if (found >= 0) return false;  // all were taken, so another one is wrong
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// A slot belongs to a stream for good, or to a graph for as long as the graph or what was made of it is there.
void slots() {
  cudaStream_t stream = nullptr;
  launched(cudaStreamCreate(&stream));
  demand(capture_id(stream) == 0, "a stream without a capture has no number");
  demand(counter_bank() != nullptr, "the bank has an address");
  const int of_stream = take_slot(0, stream);
  const Captured first(stream), second(stream);
  demand(of_stream >= 0 && first.slot >= 0 && second.slot >= 0, "there are slots");
  demand(of_stream != first.slot && of_stream != second.slot && first.slot != second.slot, "slots differ");
  while (take_slot(0, stream) >= 0) {
  }
  launched(cudaGraphDestroy(first.graph));
  launched(cudaGraphDestroy(second.graph));
  demand(take_slot(0, stream) == -1, "an instantiated graph keeps its slot");
  launched(cudaGraphExecDestroy(first.exec));
  demand(comes_back(first.slot, stream), "a slot comes back with its graph");
  launched(cudaGraphExecDestroy(second.exec));
  demand(comes_back(second.slot, stream), "a slot comes back with its graph");
  launched(cudaStreamDestroy(stream));
}

// Adam's first step goes by the learning rate against each gradient's sign.
void optimizer(DType dtype, int64_t n, double weight_decay) {
  Array values(dtype, n, 1), grads(dtype, n, 2), before(dtype, n, 1), exp_avg(dtype, n), exp_avg_sq(dtype, n);
  Array average(dtype, n, 3), average_before(dtype, n, 3), halves(DType::bf16, n);
  Array count(DType::f32, 1), rate(DType::f32, 1), weight(DType::f32, 1), counter(DType::f32, 1);
  rate.set(0, 0.125);
  weight.set(0, 0.25);
  const auto floats = [](const Array& a) { return static_cast<float*>(a.data); };
  launched(adam({dtype, n, values.data, grads.data, exp_avg.data, exp_avg_sq.data, average.data, halves.data,
                 floats(count), true, floats(rate), floats(weight), 0.5, 0.999, 1e-8, weight_decay,
                 static_cast<unsigned*>(counter.data), 0}));
  launched(cudaDeviceSynchronize());
  demand(count.get(0) == 1 && counter.get(0) == 0, "the step is counted, and the blocks are not");
  for (int64_t i = 0; i < n; ++i) {
    const double g = grads.get(i) + weight_decay * before.get(i);
    const double moved = before.get(i) - 0.125 * g / (fabs(g) + 1e-8);
    near(values.get(i), moved, dtype, "a step of Adam");
    near(average.get(i), average_before.get(i) + 0.25 * (moved - average_before.get(i)), dtype, "the average");
    near(halves.get(i), moved, DType::bf16, "the bfloat16 copy");
  }
}

// The spans of an output layer, of which some are conditions.
struct Layout {
  std::vector<int> sizes, discrete;
  int64_t width = 0, conditions = 0, num_codes = 0, num_values = 0;
  Integers<int32_t> spans, targets;

  Layout(std::vector<int> of_spans, std::vector<int> of_conditions)
      : sizes(std::move(of_spans)), discrete(std::move(of_conditions)), spans(3 * static_cast<int64_t>(sizes.size())),
        targets(3 * std::accumulate(sizes.begin(), sizes.end(), int64_t{0})) {
    for (size_t i = 0; i < sizes.size(); ++i) {
      int32_t* const span = spans.at + 3 * i;
      span[0] = static_cast<int32_t>(width);
      span[1] = sizes[i];
      span[2] = static_cast<int32_t>(sizes[i] == 1 ? num_values++ : num_codes++);
      width += sizes[i];
    }
    for (const int i : discrete)
      for (int column = 0; column < sizes[static_cast<size_t>(i)]; ++column) {
        int32_t *const target = targets.at + 3 * conditions++, *const span = spans.at + 3 * i;
        target[0] = span[0] + column;
        target[1] = span[0];
        target[2] = span[0] + span[1];
      }
  }
  SpanTables tables() const { return {spans.at, static_cast<int64_t>(sizes.size()), targets.at, conditions}; }
  // A condition for each row, some out of range; and the one that it counts as.
  int64_t given(int64_t row) const { return row * 7 % (conditions + 2) - 1; }
  int64_t condition(int64_t row) const { return std::clamp(given(row), int64_t{0}, conditions - 1); }
};

// Numbers in [0, 1), of which the first is 0.
void make_uniform(Array& numbers) {
  for (int64_t i = 0; i < numbers.size; ++i) numbers.set(i, i == 0 ? 0.0 : (numbers.get(i) + 3) / 6);
}

// tanh, Gumbel-softmax and the cross-entropy of conditions, forward and backward. Output and gradient have gaps.
struct SpanLayer {
  DType dtype;
  int64_t rows;
  const Layout& layout;
  DType compute = compute_type(dtype);
  int64_t width = layout.width, stride = width + 3;
  double temperature = 0.5;
  Array x{dtype, rows * width, 3}, noise{DType::f32, rows * width, 4}, y{dtype, rows * stride};
  Array dy{dtype, rows * stride, 5}, dx{dtype, rows * width}, entropy{compute, 1}, scale{DType::f32, 1};
  Array partials{compute, kSpanPartials}, counter{DType::f32, 1};
  Whole conditions{rows};

  SpanCall call(bool with_noise) const {
    return {dtype, rows, width, layout.tables(), temperature, x.data,
            with_noise ? static_cast<const float*>(noise.data) : nullptr, conditions.at, {y.data, stride}, 0};
  }
  double logit(int64_t row, int64_t column, bool with_noise) const {
    const int64_t at = row * width + column;
    const double gumbel = -log(-log(fmax(noise.get(at), 0x1p-25)));
    return (x.get(at) + (with_noise ? gumbel : 0)) / temperature;
  }
  double probability(int64_t row, int64_t column) const {
    const int32_t* const target = layout.targets.at + 3 * layout.condition(row);
    if (column < target[1] || column >= target[2]) return 0;
    double sum = 0;
    for (int64_t each = target[1]; each < target[2]; ++each)
      sum += exp(x.get(row * width + each) - x.get(row * width + column));
    return 1 / sum;
  }

  void run() {
    make_uniform(noise);
    scale.set(0, 3.0);
    for (int64_t row = 0; row < rows; ++row) conditions.at[row] = layout.given(row);
    for (const bool with_noise : {false, true}) {
      launched(span_activations(call(with_noise), entropy.data, {partials.data, static_cast<unsigned*>(counter.data)}));
      launched(cudaDeviceSynchronize());
      for_spans([&](int64_t row, int64_t first, int64_t size) { demand_output(row, first, size, with_noise); });
      double exact = 0;
      for (int64_t row = 0; row < rows; ++row)
        exact -= log(probability(row, layout.targets.at[3 * layout.condition(row)])) / static_cast<double>(rows);
      near(entropy.get(0), exact, compute, "the cross-entropy of conditions");
    }
    for (const bool with_entropy : {false, true}) {
      SpanCall back = call(false);
      if (!with_entropy) back.input = nullptr;
      launched(span_activations_backward(back, {dy.data, stride}, {scale.data, scale.dtype}, dx.data));
      launched(cudaDeviceSynchronize());
      for_spans([&](int64_t row, int64_t first, int64_t size) { demand_gradient(row, first, size, with_entropy); });
    }
  }
  template <class Work>
  void for_spans(const Work& work) const {
    for (int64_t row = 0; row < rows; ++row)
      for (size_t i = 0; i < layout.sizes.size(); ++i) work(row, layout.spans.at[3 * i], layout.sizes[i]);
  }
  void demand_output(int64_t row, int64_t first, int64_t size, bool with_noise) const {
    double highest = -INFINITY, sum = 0;
    for (int64_t c = first; c < first + size; ++c) highest = fmax(highest, logit(row, c, with_noise));
    for (int64_t c = first; c < first + size; ++c) sum += exp(logit(row, c, with_noise) - highest);
    for (int64_t c = first; c < first + size; ++c) {
      const double exact = size == 1 ? tanh(x.get(row * width + c)) : exp(logit(row, c, with_noise) - highest) / sum;
      near(y.get(row * stride + c), exact, dtype, "an activation of a span");
    }
  }
  void demand_gradient(int64_t row, int64_t first, int64_t size, bool with_entropy) const {
    double sum = 0;
    for (int64_t c = row * stride + first; c < row * stride + first + size; ++c) sum += y.get(c) * dy.get(c);
    for (int64_t c = first; c < first + size; ++c) {
      const double own = y.get(row * stride + c), incoming = dy.get(row * stride + c);
      double exact = size == 1 ? incoming * (1 - own * own) : own * (incoming - sum) / temperature;
      if (with_entropy) {
        const bool is_chosen = c == layout.targets.at[3 * layout.condition(row)];
        exact += (probability(row, c) - (is_chosen ? 1 : 0)) * 3 / static_cast<double>(rows);
      }
      near(dx.get(row * width + c), exact, dtype, "the gradient of a span");
    }
  }
};

// Batches of a table, with conditions and without, in rows with gaps.
void table_batches(DType dtype, int64_t batch, int64_t rows, const Layout& layout) {
  Integers<int32_t> codes(rows * layout.num_codes);
  Integers<int32_t> order(rows * static_cast<int64_t>(layout.discrete.size()));
  Whole starts(layout.conditions + 1), conditions(batch);
  Array values(DType::f32, rows * layout.num_values, 3), uniform(DType::f32, batch, 4);
  make_uniform(uniform);
  for (int64_t row = 0; row < rows; ++row)
    for (size_t i = 0; i < layout.sizes.size(); ++i)
      if (layout.sizes[i] > 1)
        codes.at[row * layout.num_codes + layout.spans.at[3 * i + 2]] =
            static_cast<int32_t>(row * 5 + static_cast<int64_t>(i)) % layout.sizes[i];
  int64_t place = 0, number = 0;
  for (const int i : layout.discrete)
    for (int code = 0; code < layout.sizes[static_cast<size_t>(i)]; ++code) {
      for (int64_t row = 0; row < rows; ++row)
        if (codes.at[row * layout.num_codes + layout.spans.at[3 * i + 2]] == code)
          order.at[place++] = static_cast<int32_t>(row);
      starts.at[++number] = place;
    }
  for (int64_t i = 0; i < batch; ++i) conditions.at[i] = layout.given(i);
  for (const bool with_conditions : {false, true}) {
    const int64_t columns = layout.width + (with_conditions ? layout.conditions : 0), stride = columns + 2;
    Array into(dtype, batch * stride, 5), before(dtype, batch * stride, 5);
    launched(table_batch({dtype, batch, layout.width, rows, layout.tables(), codes.at,
                          static_cast<const float*>(values.data), layout.num_codes, layout.num_values, order.at,
                          starts.at, with_conditions ? conditions.at : nullptr,
                          static_cast<const float*>(uniform.data), {into.data, stride}, 0},
                         place));
    launched(cudaDeviceSynchronize());
    for (int64_t at = 0; at < batch; ++at) {
      const int64_t condition = layout.condition(at), first = starts.at[condition];
      const int64_t count = with_conditions ? starts.at[condition + 1] - first : rows;
      const int64_t drawn = static_cast<int64_t>(uniform.get(at) * static_cast<double>(count));
      const int64_t row = !with_conditions ? drawn : order.at[first + drawn < place ? first + drawn : place - 1];
      for (size_t i = 0; i < layout.sizes.size(); ++i) {
        const int32_t* const span = layout.spans.at + 3 * i;
        for (int column = 0; column < span[1]; ++column) {
          const bool is_one = span[1] > 1 && codes.at[row * layout.num_codes + span[2]] == column;
          const double exact = span[1] == 1 ? values.get(row * layout.num_values + span[2]) : is_one;
          demand(into.get(at * stride + span[0] + column) == exact, "a column of a drawn row");
        }
      }
      for (int64_t i = layout.width; i < stride; ++i) {
        const double exact = i < columns ? i - layout.width == condition : before.get(at * stride + i);
        demand(into.get(at * stride + i) == exact, "the columns of conditions, and those behind them");
      }
    }
  }
}

void drawn_conditions(int64_t conditions, int64_t count) {
  Array cumulative(DType::f64, conditions), uniform(DType::f32, count, 6);
  Whole drawn(count);
  make_uniform(uniform);
  for (int64_t i = 0; i < conditions; ++i)
    cumulative.set(i, pow(static_cast<double>(i + 1) / static_cast<double>(conditions), 2));
  launched(draw_conditions(static_cast<const float*>(uniform.data), count, static_cast<const double*>(cumulative.data),
                           conditions, drawn.at, 0));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < count; ++i) {
    int64_t exact = 0;
    while (exact < conditions - 1 && cumulative.get(exact) <= uniform.get(i)) ++exact;
    demand(drawn.at[i] == exact, "a drawn condition");
  }
}

void draws(int64_t integers, int64_t normal, int64_t uniform) {
  Whole whole(integers), step(1);
  Array gauss(DType::f32, normal), flat(DType::f32, uniform);
  step.at[0] = 5;
  launched(draw({whole.at, static_cast<float*>(gauss.data), static_cast<float*>(flat.data),
                 {integers, normal, uniform}, {0, 4, 8}, 10, 7, step.at, 0}));
  launched(cudaDeviceSynchronize());
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < integers; ++i) demand(whole.at[i] >= 0 && whole.at[i] < 10, "an integer in its range");
  for (int64_t i = 0; i < uniform; ++i) demand(flat.get(i) >= 0 && flat.get(i) < 1, "a number in [0, 1)");
  for (int64_t i = 0; i < normal; ++i) sum += gauss.get(i), squares += gauss.get(i) * gauss.get(i);
  const double n = static_cast<double>(normal);
  demand(normal < 1000 || (fabs(sum / n) < 5 / sqrt(n) && fabs(squares / n - 1) < 8 / sqrt(n)), "mean 0, variance 1");
}

void records() {
  Array one(DType::f32, 1, 1), other(DType::f32, 1, 2), table(DType::f32, 6), schedule(DType::f32, 20, 3);
  Array settings(DType::f32, 5);
  Whole row(1), clock(1);
  const auto floats = [](const Array& a) { return static_cast<float*>(a.data); };
  for (int64_t step = 0; step < 3; ++step) {
    launched(record({{floats(one), floats(other)}, 2, floats(table), row.at, floats(schedule), 5, floats(settings),
                     clock.at, 0}));
    launched(cudaDeviceSynchronize());
    demand(row.at[0] == step + 1 && clock.at[0] == step + 1, "row and clock move on");
    demand(table.get(2 * step) == one.get(0) && table.get(2 * step + 1) == other.get(0), "a row of statistics");
    for (int64_t i = 0; i < 5; ++i) demand(settings.get(i) == schedule.get((step + 1) * 5 + i), "the next settings");
  }
}

}  // namespace

// With an argument, in float32 and for cross-entropy alone: where threads wait for each other depends on neither.
int main(int arguments, char**) {
  const bool briefly = arguments > 1;
  slots();
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    const bool usual = dtype == DType::f32;  // has what takes longest: the paths are those of any dtype
    if (briefly && !usual) continue;
    for (int number = 0; number < static_cast<int>(Loss::count); ++number) {
      const Loss loss = static_cast<Loss>(number);
      if (briefly && loss != Loss::bce) continue;
      losses(loss, dtype, {1, 3}, 1.0);
      losses(loss, dtype, {4003, 70}, 1.0);
      if (usual || loss == Loss::bce) losses(loss, dtype, {5, 0, 2049, 1, 17, 64, 9, 33, 8}, 1.0);
      loss_of_each(loss, dtype, 4003, 1.0);
      head(loss, dtype, {9, 4}, 32);
    }
    losses(Loss::bce, dtype, {9001}, 1.0);
    losses(Loss::bce, dtype, {9001, 4003}, 0.9);
    if (usual) losses(Loss::bce, dtype, std::vector<int64_t>(kMostTensors, 3), 0.9);
    loss_of_each(Loss::bce, dtype, 4003, 0.9);
    kept_gradients(dtype, {9001, 70});
    kept_gradients(dtype, {0, 70, 5});
    l1(dtype, {3});
    l1(dtype, {9001});
    l1(dtype, {5, 1, 9001, 64});
    const Act leaky{ActForm::leaky, 0.2, 1, INFINITY};
    layer(dtype, leaky, 90, 520, 1);
    std::vector<Act> acts{leaky};
    for (int form = 0; form <= static_cast<int>(ActForm::swish); ++form)
      acts.push_back({static_cast<ActForm>(form), 0.7, -1.3, 2.5});
    for (const Act& act : acts) {
      layer(dtype, act, 70, 24, 1);
      layer(dtype, act, 33, 5, 1);
      layer(dtype, act, 6, 5, 48);
      layer(dtype, act, 3, 4, 7);
    }
    for (const bool columns_first : {false, true}) spectral_norms(dtype, {{70, 96}, {1, 1}, {33, 27}}, columns_first);
    for (const int64_t gap : {0, 8, 3}) batch_norm(dtype, 70, 24, 1, gap);
    batch_norm(dtype, 33, 5, 1);
    batch_norm(dtype, 90, 520, 1);
    batch_norm(dtype, 6, 5, 48);
    batch_norm(dtype, 3, 4, 7);
    head(Loss::bce, dtype, {40, 3}, 32);
    head(Loss::bce, dtype, {5, 70}, 45);
    head(Loss::bce, dtype, {9, 4}, 512);
    head(Loss::bce, dtype, {30, 200, 1}, 512);
    if (usual) head(Loss::bce, dtype, {2100, 5}, 16);
    if (usual) spectral_norms(dtype, {{3, 4100}, {900, 2}}, false);
    for (const bool last : {false, true}) {
      Snake{dtype, 2, 3, 40, last, false, 0, 0}.run();
      Snake{dtype, 3, 5, 7, last, true, 0, 0}.run();
      Snake{dtype, 2, 3, 40, last, false, 12, 12}.run();
      Snake{dtype, 1, 3, 1, last, true, 12, 12}.run();
      if (usual) Snake{dtype, 6, 40, 333, last, false, 12, 12}.run();
      Snake{dtype, 2, 3, 70, last, true, 3, 24}.run();
      Snake{dtype, 1, 2, 2, last, false, 13, 4}.run();
    }
    for (const auto& [up, down] : {std::pair{2, 1}, std::pair{1, 2}, std::pair{1, 1}, std::pair{3, 2}}) {
      Resampled{dtype, 3, 8, 8, 1, 4, false, up, down, 1}.run();
      Resampled{dtype, 2, 9, 21, 1, 4, true, up, down, 2}.run();
      Resampled{dtype, 1, 7, 9, 8, 4, false, up, down, 2, false}.run();
      Resampled{dtype, 1, 5, 6, 3, 4, true, up, down, 1, false}.run();
      Resampled{dtype, 2, 13, 16, 1, 12, true, up, down, 6}.run();
      if (usual) Resampled{dtype, 2, 70, 150, 1, up == down ? 4 : 12, true, up, down, 5}.run();
      if (usual) Resampled{dtype, 2, 19, 30, 40, 4, false, up, down, 3}.run();
    }
    optimizer(dtype, 3, 0);
    optimizer(dtype, 9001, 0);
    optimizer(dtype, 70, 0.25);
    const Layout table({1, 6, 3, 1, 1, 2, 9}, {2, 6}), wide({70, 1, 400, 2, 650}, {0, 4}), tiny({1, 2}, {1});
    SpanLayer{dtype, 90, table}.run();
    SpanLayer{dtype, 3, wide}.run();
    SpanLayer{dtype, 1, tiny}.run();
    if (usual || dtype == DType::f64) {
      table_batches(dtype, 70, 40, table);
      table_batches(dtype, 3, 40, wide);
      table_batches(dtype, 1, 1, tiny);
    }
  }
  drawn_conditions(1, 5);
  drawn_conditions(37, 200);
  draws(130, 4099, 7);
  draws(0, 5, 0);
  records();
  printf("%d checks passed\n", checks);
  return 0;
}
