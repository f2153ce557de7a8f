// Runs every CUDA kernel once and checks what it computes against plain loops in double: for sanitizers, which see
// through a program without Python and torch best. On the host with g++, on a GPU with nvcc.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../../csrc/cuda/adam.h"
#include "../../csrc/cuda/bias_leaky_relu.h"
#include "../../csrc/cuda/counters.h"
#include "../../csrc/cuda/draw.h"
#include "../../csrc/cuda/head.h"
#include "../../csrc/cuda/losses.h"
#include "../../csrc/cuda/reconstruction.h"
#include "../../csrc/cuda/record.h"

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

DType computed(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-5 : dtype == DType::f16 ? 2e-3 : 2e-2;
}

void near(double ours, double exact, DType dtype, const char* what) {
  demand(fabs(ours - exact) <= tolerance(dtype) * (1 + fabs(exact)), what);
}

double softplus(double t) { return (t > 0 ? t : 0) + log1p(exp(-fabs(t))); }
double logistic(double t) { return 1 / (1 + exp(-t)); }

void losses(DType dtype, int64_t n, int64_t m, double label) {
  Array real(dtype, n, 1), fake(dtype, m, 2);
  Array grad_real(dtype, n), grad_fake(dtype, m), loss(computed(dtype), 1), terms(dtype, n);
  Array stats(DType::f32, 3), partials(DType::f64, kWorkspaceBytes / 8), counter(DType::f32, 1);
  double exact = 0;
  for (int64_t i = 0; i < n; ++i)
    exact += (label * softplus(-real.get(i)) + (1 - label) * softplus(real.get(i))) / static_cast<double>(n);
  for (int64_t i = 0; i < m; ++i) exact += softplus(fake.get(i)) / static_cast<double>(m);
  for (const bool with_grad : {false, true}) {
    const LossCall call{Loss::bce, dtype,
                        {{real.data, n, label, nullptr, with_grad ? grad_real.data : nullptr},
                         {fake.data, m, 0.0, nullptr, with_grad ? grad_fake.data : nullptr}},
                        2, 1.0, true, nullptr};
    const Workspace workspace{partials.data, static_cast<unsigned*>(counter.data)};
    launched(loss_forward(call, workspace, nullptr, DType::f32, loss.data, loss.dtype, static_cast<float*>(stats.data)));
    launched(cudaDeviceSynchronize());
    near(loss.get(0), exact, dtype, "discriminator loss");
  }
  for (int64_t i = 0; i < n; ++i)
    near(grad_real.get(i) * static_cast<double>(n), logistic(real.get(i)) - label, dtype, "its gradient");
  const LossCall backward{Loss::bce, dtype,
                          {{real.data, n, label, nullptr, grad_real.data}, {fake.data, m, 0.0, nullptr, grad_fake.data}},
                          2, 1.0, true, nullptr};
  launched(loss_backward(backward, loss.data, loss.dtype, false));
  const LossCall each{Loss::bce, dtype, {{real.data, n, label, nullptr, terms.data}, {}}, 1, 1.0, false,
                      nullptr};
  launched(loss_terms(each));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < m; ++i)
    near(grad_fake.get(i) * static_cast<double>(m), loss.get(0) * logistic(fake.get(i)), dtype, "its backward pass");
  for (int64_t i = 0; i < n; ++i)
    near(terms.get(i), label * softplus(-real.get(i)) + (1 - label) * softplus(real.get(i)), dtype, "its terms");
  const LossCall of_terms{Loss::bce, dtype, {{real.data, n, label, terms.data, grad_real.data}, {}}, 1, 1.0,
                          false, nullptr};
  launched(loss_terms_backward(of_terms));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < n; ++i)
    near(grad_real.get(i), terms.get(i) * (logistic(real.get(i)) - label), dtype, "the backward pass of its terms");
}

// Gradients that are there for an incoming 1: left alone where it is 1, else computed from the logits.
void kept_gradients(DType dtype, int64_t n, int64_t m) {
  Array real(dtype, n, 22), fake(dtype, m, 23), grad_real(dtype, n), grad_fake(dtype, m), scale(DType::f32, 1);
  const LossCall call{Loss::bce, dtype,
                      {{real.data, n, 1.0, nullptr, grad_real.data}, {fake.data, m, 0.0, nullptr, grad_fake.data}},
                      2, 1.0, true, nullptr};
  for (const double factor : {1.0, 3.0}) {
    scale.set(0, factor);
    launched(loss_backward(call, scale.data, scale.dtype, true));
    launched(cudaDeviceSynchronize());
    for (int64_t i = 0; i < n; ++i)
      near(grad_real.get(i) * static_cast<double>(n), factor == 1 ? 0 : factor * (logistic(real.get(i)) - 1), dtype,
           "a kept gradient");
    for (int64_t i = 0; i < m; ++i)
      near(grad_fake.get(i) * static_cast<double>(m), factor == 1 ? 0 : factor * logistic(fake.get(i)), dtype,
           "a kept gradient");
  }
}

// The losses that are chosen at run time: value and gradients in one pass, and the terms.
void losses_without_logarithm(DType dtype, int64_t n, int64_t m) {
  const auto term = [](Loss loss, double t, double label) {
    const double side = 1 - 2 * label;
    if (loss == Loss::hinge) return fmax(0.0, 1 + side * t);
    return loss == Loss::least_squares ? (t - label) * (t - label) / 2 : side * t;
  };
  const auto slope = [](Loss loss, double t, double label) {
    const double side = 1 - 2 * label;
    if (loss == Loss::hinge) return 1 + side * t > 0 ? side : 0.0;
    return loss == Loss::least_squares ? t - label : side;
  };
  Array real(dtype, n, 20), fake(dtype, m, 21), grad_real(dtype, n), grad_fake(dtype, m), terms(dtype, n);
  Array loss(computed(dtype), 1), stats(DType::f32, 3);
  Array partials(DType::f64, kWorkspaceBytes / 8), counter(DType::f32, 1);
  for (const Loss of : {Loss::hinge, Loss::least_squares, Loss::wasserstein}) {
    const LossCall call{of, dtype,
                        {{real.data, n, 1.0, nullptr, grad_real.data}, {fake.data, m, 0.0, nullptr, grad_fake.data}},
                        2, 1.0, true, nullptr};
    launched(loss_forward(call, {partials.data, static_cast<unsigned*>(counter.data)}, nullptr, DType::f32, loss.data,
                          loss.dtype, static_cast<float*>(stats.data)));
    const LossCall each{of, dtype, {{real.data, n, 1.0, nullptr, terms.data}, {}}, 1, 1.0, false, nullptr};
    launched(loss_terms(each));
    launched(cudaDeviceSynchronize());
    double exact = 0;
    for (int64_t i = 0; i < n; ++i) exact += term(of, real.get(i), 1) / static_cast<double>(n);
    for (int64_t i = 0; i < m; ++i) exact += term(of, fake.get(i), 0) / static_cast<double>(m);
    near(loss.get(0), exact, dtype, "a loss without a logarithm");
    for (int64_t i = 0; i < n; ++i) {
      near(terms.get(i), term(of, real.get(i), 1), dtype, "its terms");
      near(grad_real.get(i) * static_cast<double>(n), slope(of, real.get(i), 1), dtype, "its gradient");
    }
    for (int64_t i = 0; i < m; ++i)
      near(grad_fake.get(i) * static_cast<double>(m), slope(of, fake.get(i), 0), dtype, "its gradient");
  }
}

void reconstruction(DType dtype, int64_t n) {
  Array x(dtype, n, 10), y(dtype, n, 11), dx(dtype, n), dy(dtype, n), terms(dtype, n), incoming(dtype, n, 12);
  Array loss(computed(dtype), 1), partials(DType::f64, kWorkspaceBytes / 8), counter(DType::f32, 1);
  const Workspace workspace{partials.data, static_cast<unsigned*>(counter.data)};
  const auto call = [&](void* of_x, void* of_y, bool mean) {
    return ReconstructionCall{dtype, x.data, y.data, n, of_x, of_y, mean, nullptr};
  };
  double exact = 0;
  for (int64_t i = 0; i < n; ++i) exact += fabs(x.get(i) - y.get(i)) / static_cast<double>(n);
  for (const auto& each : {call(nullptr, nullptr, true), call(nullptr, dy.data, true), call(dx.data, dy.data, true)}) {
    launched(reconstruction_loss(each, workspace, nullptr, DType::f32, loss.data, loss.dtype));
    launched(cudaDeviceSynchronize());
    near(loss.get(0), exact, dtype, "reconstruction loss");
  }
  const auto slope = [&](int64_t i) { return x.get(i) > y.get(i) ? 1.0 : x.get(i) < y.get(i) ? -1.0 : 0.0; };
  for (int64_t i = 0; i < n; ++i) {
    near(dx.get(i) * static_cast<double>(n), slope(i), dtype, "its gradient");
    near(dy.get(i), -dx.get(i), dtype, "its gradient for the reconstruction");
  }
  launched(reconstruction_terms(call(nullptr, nullptr, false), terms.data));
  launched(reconstruction_backward(call(dx.data, nullptr, false), incoming.data, loss.data, loss.dtype));
  launched(cudaDeviceSynchronize());
  for (int64_t i = 0; i < n; ++i) {
    near(terms.get(i), fabs(x.get(i) - y.get(i)), dtype, "its terms");
    near(dx.get(i), loss.get(0) * incoming.get(i) * slope(i), dtype, "its backward pass");
  }
}

void layer(DType dtype, int64_t outer, int64_t channels, int64_t inner) {
  const LayerShape shape{dtype, outer, channels, inner, 0.2, nullptr};
  const int64_t size = outer * channels * inner;
  Array x(dtype, size, 3), bias(dtype, channels, 4), y(dtype, size);
  Array dy(dtype, size, 5), dx(dtype, size), db(dtype, channels);
  const LayerWorkspace room = layer_workspace(shape);
  Array sums(computed(dtype), room.sums), counters(DType::f32, room.counters);
  launched(bias_leaky_relu_forward(shape, x.data, bias.data, y.data));
  launched(bias_leaky_relu_backward(shape, dy.data, y.data, dx.data, db.data, sums.data,
                                    static_cast<unsigned*>(counters.data)));
  launched(cudaDeviceSynchronize());
  std::vector<double> exact(static_cast<size_t>(channels)), magnitude(exact);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t channel = i / inner % channels;
    const double z = x.get(i) + bias.get(channel), masked = dy.get(i) * (y.get(i) > 0 ? 1 : 0.2);
    near(y.get(i), z > 0 ? z : 0.2 * z, dtype, "bias + leaky ReLU");
    near(dx.get(i), masked, dtype, "its backward pass");
    exact[static_cast<size_t>(channel)] += masked;
    magnitude[static_cast<size_t>(channel)] += fabs(masked);
  }
  for (int64_t c = 0; c < channels; ++c)
    demand(fabs(db.get(c) - exact[static_cast<size_t>(c)]) <= tolerance(dtype) * (1 + magnitude[static_cast<size_t>(c)]),
           "its bias gradient");
}

void head(DType dtype, int64_t n, int64_t m, int64_t width) {
  const DType compute = computed(dtype);
  Array real(dtype, n * width, 6), fake(dtype, m * width, 7);
  Array weight(dtype, width, 8), bias(dtype, 1, 9);
  Array slopes_real(compute, n), slopes_fake(compute, m), grad_real(dtype, n * width), grad_fake(dtype, m * width);
  Array dw(compute, width), db(compute, 1), loss(compute, 1), stats(DType::f32, 3), again(dtype, n * width);
  Array one(DType::f32, 1);
  one.set(0, 1.0);
  const HeadCall call{dtype,
                      {{real.data, n, 1.0, slopes_real.data, grad_real.data},
                       {fake.data, m, 0.0, slopes_fake.data, grad_fake.data}},
                      2, width, weight.data, bias.data, 1.0, true, nullptr};
  const HeadWorkspace room = head_workspace(call);
  Array sums(compute, room.sums), counters(DType::f32, room.counters);
  launched(head_loss(call, sums.data, static_cast<unsigned*>(counters.data), nullptr, DType::f32, loss.data, loss.dtype,
                     static_cast<float*>(stats.data), dw.data, db.data, compute));
  const HeadCall grad{dtype, {{nullptr, n, 0.0, slopes_real.data, again.data}, {}}, 1, width, weight.data, nullptr, 1.0,
                      false, nullptr};
  launched(head_grad(grad, one.data, DType::f32));
  launched(cudaDeviceSynchronize());
  double exact = 0;
  std::vector<double> exact_dw(static_cast<size_t>(width));
  const auto rows = [&](const Array& features, int64_t count, double label, const Array& slopes) {
    for (int64_t row = 0; row < count; ++row) {
      double t = bias.get(0);
      for (int64_t i = 0; i < width; ++i) t += features.get(row * width + i) * weight.get(i);
      const double share = static_cast<double>(count), slope = (logistic(t) - label) / share;
      exact += (label == 1 ? softplus(-t) : softplus(t)) / share;
      near(slopes.get(row) * share, slope * share, compute, "a slope of the head");
      for (int64_t i = 0; i < width; ++i) exact_dw[static_cast<size_t>(i)] += slope * features.get(row * width + i);
    }
  };
  rows(real, n, 1.0, slopes_real);
  rows(fake, m, 0.0, slopes_fake);
  near(loss.get(0), exact, compute, "the head's loss");
  for (int64_t i = 0; i < width; ++i) near(dw.get(i), exact_dw[static_cast<size_t>(i)], compute, "the head's dw");
  for (int64_t i = 0; i < n * width; ++i) {
    near(grad_real.get(i), slopes_real.get(i / width) * weight.get(i % width), dtype, "the head's features");
    near(again.get(i), grad_real.get(i), dtype, "the head's backward pass");
  }
}

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
void optimizer(DType dtype, int64_t n) {
  Array values(dtype, n, 1), grads(dtype, n, 2), before(dtype, n, 1), exp_avg(dtype, n), exp_avg_sq(dtype, n);
  Array average(dtype, n, 3), average_before(dtype, n, 3), halves(DType::bf16, n);
  Array count(DType::f32, 1), rate(DType::f32, 1), weight(DType::f32, 1), counter(DType::f32, 1);
  rate.set(0, 0.125);
  weight.set(0, 0.25);
  const auto floats = [](const Array& a) { return static_cast<float*>(a.data); };
  launched(adam({dtype, n, values.data, grads.data, exp_avg.data, exp_avg_sq.data, average.data, halves.data,
                 floats(count), true, floats(rate), floats(weight), 0.5, 0.999, 1e-8,
                 static_cast<unsigned*>(counter.data), nullptr}));
  launched(cudaDeviceSynchronize());
  demand(count.get(0) == 1 && counter.get(0) == 0, "the step is counted, and the blocks are not");
  for (int64_t i = 0; i < n; ++i) {
    const double g = grads.get(i), moved = before.get(i) - 0.125 * g / (fabs(g) + 1e-8);
    near(values.get(i), moved, dtype, "a step of Adam");
    near(average.get(i), average_before.get(i) + 0.25 * (moved - average_before.get(i)), dtype, "the average");
    near(halves.get(i), moved, DType::bf16, "the bfloat16 copy");
  }
}

struct Whole {
  int64_t* at;
  explicit Whole(int64_t size) {
    void* data = nullptr;
    launched(cudaMallocManaged(&data, static_cast<size_t>(size) * sizeof(int64_t)));
    at = static_cast<int64_t*>(data);
    for (int64_t i = 0; i < size; ++i) at[i] = 0;
  }
  Whole(const Whole&) = delete;
  ~Whole() { cudaFree(at); }
};

void draws(int64_t integers, int64_t normal, int64_t uniform) {
  Whole whole(integers), step(1);
  Array gauss(DType::f32, normal), flat(DType::f32, uniform);
  step.at[0] = 5;
  launched(draw({whole.at, static_cast<float*>(gauss.data), static_cast<float*>(flat.data),
                 {integers, normal, uniform}, {0, 4, 8}, 10, 7, step.at, nullptr}));
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
                     clock.at, nullptr}));
    launched(cudaDeviceSynchronize());
    demand(row.at[0] == step + 1 && clock.at[0] == step + 1, "row and clock move on");
    demand(table.get(2 * step) == one.get(0) && table.get(2 * step + 1) == other.get(0), "a row of statistics");
    for (int64_t i = 0; i < 5; ++i) demand(settings.get(i) == schedule.get((step + 1) * 5 + i), "the next settings");
  }
}

}  // namespace

int main() {
  slots();
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    losses(dtype, 1, 3, 1.0);
    losses(dtype, 9001, 4003, 0.9);
    kept_gradients(dtype, 9001, 70);
    losses_without_logarithm(dtype, 4003, 70);
    reconstruction(dtype, 3);
    reconstruction(dtype, 9001);
    layer(dtype, 70, 24, 1);
    layer(dtype, 33, 5, 1);
    layer(dtype, 90, 520, 1);
    layer(dtype, 6, 5, 48);
    layer(dtype, 3, 4, 7);
    head(dtype, 40, 3, 32);
    head(dtype, 5, 70, 45);
    head(dtype, 9, 4, 512);
    head(dtype, 30, 200, 512);
    head(dtype, 2100, 5, 16);
    optimizer(dtype, 3);
    optimizer(dtype, 9001);
  }
  draws(130, 4099, 7);
  draws(0, 5, 0);
  records();
  printf("%d checks passed\n", checks);
  return 0;
}
