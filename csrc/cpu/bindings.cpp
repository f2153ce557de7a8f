// The module fastgan._cpu. Pointers arrive as integers, from fastgan/kernels/cpu/ alone, which has
// checked device, dtype, contiguity and sizes; nothing is checked again here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bias_leaky_relu.h"
#include "dispatch.h"
#include "head.h"
#include "losses.h"
#include "mlp.h"
#include "parallel.h"
#include "products.h"
#include "reconstruction.h"

namespace py = pybind11;

namespace fastgan {
namespace {

using Address = uintptr_t;

void* pointer(Address address) { return reinterpret_cast<void*>(address); }
float* floats(Address address) { return reinterpret_cast<float*>(address); }
std::vector<float*> floats(const std::vector<Address>& addresses) {
  std::vector<float*> pointers;
  for (const Address each : addresses) pointers.push_back(floats(each));
  return pointers;
}

// Releasing the GIL costs more than a small kernel.
template <class Work>
void run(int64_t elements, const Work& work) {
  if (elements < kParallelWork) return work();
  const py::gil_scoped_release release;
  work();
}

// One tensor of logits, with room for its gradient or terms; an absent second one has size 0.
LossTensor loss_tensor(Address logits, int64_t size, double label, Address output = 0, Address incoming = 0) {
  return {pointer(logits), size, label, pointer(incoming), pointer(output)};
}

}  // namespace

// Calls share nothing but the chosen instruction set, which is atomic, and memory that their callers own.
PYBIND11_MODULE(_cpu, module, py::mod_gil_not_used()) {
  module.def("instruction_sets", &instruction_sets);
  module.def("use_instruction_set", &use_instruction_set);
  module.def("instruction_set", [] { return kernels().name; });
  module.attr("SATURATED_LOGIT") = kSaturatedLogit;

  module.def("loss", [](int of, int dtype, Address a, int64_t size_a, double label_a, Address b, int64_t size_b,
                        double label_b, int count, double sign, bool mean, Address loss, int loss_dtype, Address stats,
                        int threads) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {loss_tensor(a, size_a, label_a), loss_tensor(b, size_b, label_b)},
                        count, sign, mean, threads};
    run(call.elements(), [&] {
      loss_forward(call, pointer(loss), static_cast<DType>(loss_dtype), static_cast<float*>(pointer(stats)));
    });
  });
  module.def("loss_backward", [](int of, int dtype, Address a, int64_t size_a, double label_a, Address grad_a,
                                 Address b, int64_t size_b, double label_b, Address grad_b, double sign, bool mean,
                                 Address incoming, int incoming_dtype, bool are_for_one, int threads) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {loss_tensor(a, size_a, label_a, grad_a), loss_tensor(b, size_b, label_b, grad_b)},
                        2, sign, mean, threads};
    run(call.elements(),
        [&] { loss_backward(call, pointer(incoming), static_cast<DType>(incoming_dtype), are_for_one); });
  });
  module.def("loss_and_grad", [](int of, int dtype, Address a, int64_t size_a, double label_a, Address grad_a,
                                 Address b, int64_t size_b, double label_b, Address grad_b, int count, double sign,
                                 bool mean, Address incoming, int incoming_dtype, Address loss, int loss_dtype,
                                 Address stats, int threads) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {loss_tensor(a, size_a, label_a, grad_a), loss_tensor(b, size_b, label_b, grad_b)},
                        count, sign, mean, threads};
    run(call.elements(), [&] {
      loss_forward_backward(call, pointer(incoming), static_cast<DType>(incoming_dtype), pointer(loss),
                            static_cast<DType>(loss_dtype), static_cast<float*>(pointer(stats)));
    });
  });
  module.def("loss_terms", [](int of, int dtype, Address logits, int64_t size, double label, double sign,
                              Address terms, int threads) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {loss_tensor(logits, size, label, terms), {}}, 1, sign, false, threads};
    run(size, [&] { loss_terms(call); });
  });
  module.def("loss_terms_backward", [](int of, int dtype, Address logits, int64_t size, double label, double sign,
                                       Address incoming, Address grad, int threads) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {loss_tensor(logits, size, label, grad, incoming), {}}, 1, sign, false, threads};
    run(size, [&] { loss_backward(call, nullptr, DType::f32); });
  });

  module.def("reconstruction_loss", [](int dtype, Address x, Address y, int64_t size, Address dx, Address dy, bool mean,
                                       Address scale, int scale_dtype, Address loss, int loss_dtype, int threads) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, pointer(dx), pointer(dy), mean,
                                  threads};
    run(size, [&] {
      reconstruction_loss(call, pointer(scale), static_cast<DType>(scale_dtype), pointer(loss),
                          static_cast<DType>(loss_dtype));
    });
  });
  module.def("reconstruction_terms", [](int dtype, Address x, Address y, int64_t size, Address terms, int threads) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, nullptr, nullptr, false, threads};
    run(size, [&] { reconstruction_terms(call, pointer(terms)); });
  });
  module.def("reconstruction_backward", [](int dtype, Address x, Address y, int64_t size, Address dx, Address dy, bool mean,
                                           Address incoming, Address scale, int scale_dtype, int threads) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, pointer(dx), pointer(dy), mean,
                                  threads};
    run(size, [&] {
      reconstruction_backward(call, pointer(incoming), pointer(scale), static_cast<DType>(scale_dtype));
    });
  });

  module.def("head_loss", [](int dtype, Address a, int64_t rows_a, double label_a, Address slopes_a, Address grad_a,
                             Address b, int64_t rows_b, double label_b, Address slopes_b, Address grad_b, int count,
                             int64_t width, Address weight, Address bias, double sign, bool mean, Address scale,
                             int scale_dtype, Address loss, int loss_dtype, Address stats, Address sums, int threads) {
    const HeadCall call{static_cast<DType>(dtype),
                        {{pointer(a), rows_a, label_a, pointer(slopes_a), pointer(grad_a)},
                         {pointer(b), rows_b, label_b, pointer(slopes_b), pointer(grad_b)}},
                        count, width, pointer(weight), pointer(bias), sign, mean, threads};
    run(call.elements(), [&] {
      head_loss(call, pointer(scale), static_cast<DType>(scale_dtype), pointer(loss), static_cast<DType>(loss_dtype),
                floats(stats), pointer(sums));
    });
  });
  module.def("head_grad", [](int dtype, Address slopes, int64_t rows, int64_t width, Address weight, Address scale,
                             int scale_dtype, Address grad, int threads) {
    const HeadCall call{static_cast<DType>(dtype), {{nullptr, rows, 0.0, pointer(slopes), pointer(grad)}, {}},
                        1, width, pointer(weight), nullptr, 1.0, false, threads};
    run(call.elements(), [&] { head_grad(call, pointer(scale), static_cast<DType>(scale_dtype)); });
  });

  module.def("bias_leaky_relu_forward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                           double negative_slope, Address x, Address bias, Address y, int threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    run(outer * channels * inner, [&] { bias_leaky_relu_forward(shape, pointer(x), pointer(bias), pointer(y)); });
  });
  module.def("bias_leaky_relu_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                            double negative_slope, Address dy, Address y, Address dx, Address grad_bias,
                                            int threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    run(outer * channels * inner, [&] {
      bias_leaky_relu_backward(shape, pointer(dy), pointer(y), pointer(dx), pointer(grad_bias));
    });
  });

  module.def("product", [](int64_t rows, int64_t columns, int64_t depth, Address a, int64_t a_row, int64_t a_column,
                           Address b, int64_t b_row, int64_t b_column, Address c, Address output, Address sums,
                           float negative_slope, int threads) {
    Product product{rows, columns, depth, floats(a), a_row, a_column, floats(b), b_row, b_column, floats(c), columns};
    product.output = floats(output);
    product.sums = floats(sums);
    product.negative_slope = negative_slope;
    run(rows * columns, [&] { multiply(product, threads); });
  });
  module.def("linear_forward", [](int64_t n, int64_t k, int64_t m, float negative_slope, Address x, Address w,
                                  Address bias, Address y, int threads) {
    const Linear layer{n, k, m, negative_slope, floats(x), floats(w), threads};
    run(n * m, [&] { linear_forward(layer, floats(bias), floats(y)); });
  });
  module.def("linear_backward", [](int64_t n, int64_t k, int64_t m, float negative_slope, Address x, Address w,
                                   Address dy, Address y, Address dx, Address dw, Address db, int threads) {
    const Linear layer{n, k, m, negative_slope, floats(x), floats(w), threads};
    run(n * m, [&] { linear_backward(layer, floats(dy), floats(y), floats(dx), floats(dw), floats(db)); });
  });

  using Addresses = std::vector<Address>;
  module.def("mlp_forward", [](int64_t rows, const std::vector<int64_t>& features, float negative_slope, Address x,
                               const Addresses& weights, const Addresses& biases, const Addresses& outputs,
                               int threads) {
    const auto w = floats(weights), b = floats(biases), y = floats(outputs);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), features.data(), negative_slope, w.data(), threads};
    run(rows * features.front(), [&] { mlp_forward(mlp, floats(x), b.data(), y.data()); });
  });
  module.def("mlp_backward", [](int64_t rows, const std::vector<int64_t>& features, float negative_slope,
                                const Addresses& weights, Address grad, Address x, const Addresses& outputs,
                                Address scale, int64_t first_row, Address dx, const Addresses& dw, const Addresses& db,
                                Address scratch, int threads) {
    const auto w = floats(weights), y = floats(outputs), grad_w = floats(dw), grad_b = floats(db);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), features.data(), negative_slope, w.data(), threads};
    run(rows * features.front(), [&] {
      mlp_backward(mlp, {floats(grad), floats(x), y.data(), floats(scale), first_row, floats(dx), grad_w.data(),
                         grad_b.data(), floats(scratch)});
    });
  });
}

}  // namespace fastgan
