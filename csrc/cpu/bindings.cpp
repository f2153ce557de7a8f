// The module fastgan._cpu. fastgan/_cpu.pyi describes the arguments.
#include "../bindings.h"
#include "batch_norm.h"
#include "bias_leaky_relu.h"
#include "dispatch.h"
#include "head.h"
#include "l1.h"
#include "losses.h"
#include "mlp.h"
#include "parallel.h"
#include "products.h"
#include "spectral_norm.h"

namespace py = pybind11;

namespace fastgan {
namespace {

std::vector<float*> floats(const Addresses& addresses) {
  std::vector<float*> pointers;
  for (size_t i = 0; i < addresses.size(); ++i) pointers.push_back(fastgan::floats(addresses[i]));
  return pointers;
}
using fastgan::floats;

std::vector<int64_t> copied(const Sizes& sizes) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < sizes.size(); ++i) numbers.push_back(sizes[i]);
  return numbers;
}

// Releases the GIL for large work only: releasing it costs more than a small kernel.
template <class Work>
void run(int64_t elements, const Work& work) {
  if (elements <= kParallelWork) return work();
  const py::gil_scoped_release release;
  work();
}

}  // namespace

// Safe without the GIL: calls share only the chosen instruction set, which is atomic, and memory of their callers.
PYBIND11_MODULE(_cpu, module, py::mod_gil_not_used()) {
  module.def("instruction_sets", &instruction_sets);
  module.def("use_instruction_set", &use_instruction_set);
  module.def("instruction_set", [] { return kernels().name; });
  module.attr("SATURATED_LOGIT") = kSaturatedLogit;

  module.def("loss", [](int loss, int dtype, const Addresses& logits, const Sizes& sizes, const Numbers& labels,
                        const Numbers& weights, const Addresses& grads, Address scale, int scale_dtype, Address total,
                        int total_dtype, Address details, Where threads) {
    const auto tensors = loss_tensors(logits, sizes, labels, weights, grads);
    const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                        static_cast<int>(tensors.size()), scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { loss_forward(call, result_of(total, total_dtype), pointer(details)); });
  });
  module.def("loss_backward", [](int loss, int dtype, const Addresses& logits, const Sizes& sizes,
                                 const Numbers& labels, const Numbers& weights, const Addresses& grads, Address scale,
                                 int scale_dtype, Where threads) {
    const auto tensors = loss_tensors(logits, sizes, labels, weights, grads);
    const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                        static_cast<int>(tensors.size()), scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { loss_backward(call); });
  });
  module.def("loss_terms", [](int loss, int dtype, Address logits, int64_t size, double label, double weight,
                              Address incoming, Address result, Where threads) {
    const LossTensor tensor{pointer(logits), size, label, weight, pointer(incoming), pointer(result)};
    const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), &tensor, 1, kOne, threads};
    run(size, [&] { incoming == 0 ? loss_terms(call) : loss_backward(call); });
  });

  module.def("l1_loss", [](int dtype, const Addresses& x, const Addresses& y, const Sizes& sizes,
                           const Numbers& weights, const Addresses& dx, const Addresses& dy, Address scale,
                           int scale_dtype, Address loss, int loss_dtype, Where threads) {
    const auto pairs = l1_pairs(x, y, sizes, weights, dx, dy);
    const L1Call call{static_cast<DType>(dtype), pairs.data(), static_cast<int>(pairs.size()),
                      scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { l1_loss(call, result_of(loss, loss_dtype)); });
  });
  module.def("l1_backward", [](int dtype, const Addresses& x, const Addresses& y, const Sizes& sizes,
                               const Numbers& weights, const Addresses& dx, const Addresses& dy, Address scale,
                               int scale_dtype, Where threads) {
    const auto pairs = l1_pairs(x, y, sizes, weights, dx, dy);
    const L1Call call{static_cast<DType>(dtype), pairs.data(), static_cast<int>(pairs.size()),
                      scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { l1_backward(call); });
  });
  module.def("l1_terms", [](int dtype, Address x, Address y, int64_t size, Address terms, Where threads) {
    const L1Pair pair{pointer(x), pointer(y), size, 1.0, nullptr, nullptr, nullptr};
    run(size, [&] { l1_terms({static_cast<DType>(dtype), &pair, 1, kOne, threads}, pointer(terms)); });
  });
  module.def("l1_terms_backward", [](int dtype, Address x, Address y, int64_t size, Address incoming, Address dx,
                                     Address dy, Where threads) {
    const L1Pair pair{pointer(x), pointer(y), size, 1.0, pointer(dx), pointer(dy), pointer(incoming)};
    run(size, [&] { l1_backward({static_cast<DType>(dtype), &pair, 1, kOne, threads}); });
  });

  module.def("head_loss", [](int loss, int dtype, const Addresses& features, const Sizes& rows, const Numbers& labels,
                             const Numbers& weights, const Addresses& slopes, const Addresses& grads, int64_t width,
                             Address weight, Address bias, Address scale, int scale_dtype, Address total,
                             int total_dtype, Address details, Address sums, Where threads) {
    const auto tensors = head_tensors(features, rows, labels, weights, slopes, grads);
    const HeadCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                        static_cast<int>(tensors.size()), width, pointer(weight), pointer(bias),
                        scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { head_loss(call, result_of(total, total_dtype), pointer(details), pointer(sums)); });
  });
  module.def("head_grad", [](int dtype, Address slopes, int64_t rows, int64_t width, Address weight, Address scale,
                             int scale_dtype, Address grad, Where threads) {
    const HeadTensor tensor{nullptr, rows, 0.0, 1.0, pointer(slopes), pointer(grad)};
    const HeadCall call{Loss::bce, static_cast<DType>(dtype), &tensor, 1, width, pointer(weight), nullptr,
                        scale_of(scale, scale_dtype), threads};
    run(call.elements(), [&] { head_grad(call); });
  });

  module.def("bias_leaky_relu_forward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                           double negative_slope, Address x, Address bias, Address y, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    run(outer * channels * inner, [&] { bias_leaky_relu_forward(shape, pointer(x), pointer(bias), pointer(y)); });
  });
  module.def("bias_leaky_relu_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                            double negative_slope, Address dy, Address y, Address dx, Address grad_bias,
                                            Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    run(outer * channels * inner, [&] {
      bias_leaky_relu_backward(shape, pointer(dy), pointer(y), pointer(dx), pointer(grad_bias));
    });
  });

  module.def("spectral_norm", [](int dtype, const Addresses& weights, const Sizes& rows, const Sizes& columns,
                                 const Addresses& u, const Addresses& v, const Addresses& new_u,
                                 const Addresses& new_v, const Addresses& scaled, Address sigma, double eps,
                                 int iterations, bool columns_first, Where threads) {
    const auto matrices = spectral_weights(weights, rows, columns, u, v, new_u, new_v, scaled);
    const SpectralCall call{static_cast<DType>(dtype), matrices.data(), static_cast<int>(matrices.size()), eps,
                            iterations, columns_first, pointer(sigma), threads};
    run(call.elements(), [&] { spectral_norm(call); });
  });
  module.def("spectral_norm_backward", [](int dtype, const Addresses& weights, const Sizes& rows,
                                          const Sizes& columns, const Addresses& u, const Addresses& v,
                                          const Addresses& grads, const Addresses& dw, Address sigma, Where threads) {
    const auto matrices = spectral_grads(weights, rows, columns, u, v, grads, dw);
    const SpectralGradCall call{static_cast<DType>(dtype), matrices.data(), static_cast<int>(matrices.size()),
                                pointer(sigma), threads};
    run(call.elements(), [&] { spectral_norm_backward(call); });
  });

  module.def("batch_norm_statistics", [](int dtype, int64_t outer, int64_t channels, int64_t inner, Address x,
                                         Address mean, Address var, const Addresses& running,
                                         const Sizes& running_dtypes, double momentum, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, 1.0, threads};
    const PerChannel running_mean = per_channel(running, running_dtypes, 0);
    const PerChannel running_var = per_channel(running, running_dtypes, 1);
    run(outer * channels * inner, [&] {
      batch_norm_statistics(shape, pointer(x), pointer(mean), pointer(var), running_mean, running_var, momentum);
    });
  });
  module.def("batch_norm_leaky_relu", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                         double negative_slope, double eps, const Addresses& numbers,
                                         const Sizes& dtypes, Address x, Address y, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    const BatchNormCall call = batch_norm_call(shape, eps, numbers, dtypes);
    run(outer * channels * inner, [&] { batch_norm_leaky_relu(call, pointer(x), pointer(y)); });
  });
  module.def("batch_norm_leaky_relu_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                                  double negative_slope, double eps, const Addresses& numbers,
                                                  const Sizes& dtypes, Address dy, Address x, bool training,
                                                  Address dx, const Addresses& grads, const Sizes& grad_dtypes,
                                                  Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, threads};
    const BatchNormCall call = batch_norm_call(shape, eps, numbers, dtypes);
    const PerChannel dweight = per_channel(grads, grad_dtypes, 0), dbias = per_channel(grads, grad_dtypes, 1);
    run(outer * channels * inner, [&] {
      batch_norm_leaky_relu_backward(call, pointer(dy), pointer(x), training, pointer(dx), dweight, dbias);
    });
  });

  module.def("product", [](int64_t rows, int64_t columns, int64_t depth, Address a, int64_t a_row, int64_t a_column,
                           Address b, int64_t b_row, int64_t b_column, Address c, Address output, Address sums,
                           float negative_slope, Where threads) {
    Product product{rows, columns, depth, floats(a), a_row, a_column, floats(b), b_row, b_column, floats(c), columns};
    product.output = floats(output);
    product.sums = floats(sums);
    product.negative_slope = negative_slope;
    run(rows * columns, [&] { multiply(product, threads); });
  });
  module.def("linear_forward", [](int64_t n, int64_t k, int64_t m, float negative_slope, Address x, Address w,
                                  Address bias, Address y, Where threads) {
    const Linear layer{n, k, m, negative_slope, floats(x), floats(w), threads};
    run(n * m, [&] { linear_forward(layer, floats(bias), floats(y)); });
  });
  module.def("linear_backward", [](int64_t n, int64_t k, int64_t m, float negative_slope, Address x, Address w,
                                   Address dy, Address y, Address dx, Address dw, Address db, Where threads) {
    const Linear layer{n, k, m, negative_slope, floats(x), floats(w), threads};
    run(n * m, [&] { linear_backward(layer, floats(dy), floats(y), floats(dx), floats(dw), floats(db)); });
  });

  module.def("mlp_forward", [](int64_t rows, const Sizes& features, float negative_slope, Address x,
                               const Addresses& weights, const Addresses& biases, const Addresses& outputs,
                               Where threads) {
    const std::vector<int64_t> widths = copied(features);
    const auto w = floats(weights), b = floats(biases), y = floats(outputs);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), widths.data(), negative_slope, w.data(), threads};
    run(rows * widths.front(), [&] { mlp_forward(mlp, floats(x), b.data(), y.data()); });
  });
  module.def("mlp_backward", [](int64_t rows, const Sizes& features, float negative_slope,
                                const Addresses& weights, Address grad, Address x, const Addresses& outputs,
                                Address scale, int64_t first_row, Address dx, const Addresses& dw, const Addresses& db,
                                Address scratch, Where threads) {
    const std::vector<int64_t> widths = copied(features);
    const auto w = floats(weights), y = floats(outputs), grad_w = floats(dw), grad_b = floats(db);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), widths.data(), negative_slope, w.data(), threads};
    run(rows * widths.front(), [&] {
      mlp_backward(mlp, {floats(grad), floats(x), y.data(), floats(scale), first_row, floats(dx), grad_w.data(),
                         grad_b.data(), floats(scratch)});
    });
  });
}

}  // namespace fastgan
