// The module fastgan._cpu. fastgan/_cpu.pyi describes the arguments.
#include "../bindings.h"
#include "adam.h"
#include "batch_norm.h"
#include "bias_act.h"
#include "dispatch.h"
#include "draw.h"
#include "head.h"
#include "l1.h"
#include "losses.h"
#include "mlp.h"
#include "parallel.h"
#include "products.h"
#include "record.h"
#include "samples.h"
#include "sgd.h"
#include "snake.h"
#include "spans.h"
#include "spectral_norm.h"
#include "table_batch.h"
#include "tape_bindings.h"
#include "upfirdn2d.h"
#include "vector_norm.h"

namespace py = pybind11;

namespace fastgan {
namespace {

std::vector<float*> floats(const Addresses& addresses) {
  std::vector<float*> pointers;
  for (size_t i = 0; i < addresses.size(); ++i) pointers.push_back(fastgan::floats(addresses[i]));
  return pointers;
}
using fastgan::floats;

const int64_t* integers(Address address) { return reinterpret_cast<const int64_t*>(address); }

SpanTables span_tables(Address spans, int64_t count, Address targets, int64_t conditions) {
  return {reinterpret_cast<const int32_t*>(spans), count, reinterpret_cast<const int32_t*>(targets), conditions};
}

std::vector<int64_t> copied(const Sizes& sizes) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < sizes.size(); ++i) numbers.push_back(sizes[i]);
  return numbers;
}

std::vector<Activation> activations_of(const Sizes& kinds, const Numbers& slopes, const Sizes& pieces) {
  std::vector<Activation> activations;
  for (size_t i = 0; i < kinds.size(); ++i)
    activations.push_back({static_cast<ActivationKind>(kinds[i]), static_cast<float>(slopes[i]), pieces[i]});
  return activations;
}

// Releases the GIL for large work only: releasing it costs more than a small kernel.
template <class Work>
void run(int64_t elements, const Work& work) {
  if (elements <= kParallelWork) return work();
  const py::gil_scoped_release release;
  work();
}

// Runs body(first, last) for ranges of rows.
template <class Body>
void for_each_range_of_rows(int64_t rows, int64_t width, Where threads, const Body& body) {
  const int64_t step = std::max<int64_t>(kChunk / std::max<int64_t>(width, 1), 1);
  run(rows * width, [&] { for_each_range(rows, step, rows * width, threads, body); });
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

  module.def("bias_act", [](int dtype, int64_t outer, int64_t channels, int64_t inner, int form, double alpha,
                            double gain, double clamp, Address x, Address bias, Address y, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, threads};
    const Act act{static_cast<ActForm>(form), alpha, gain, clamp};
    run(outer * channels * inner, [&] { bias_act(shape, act, pointer(x), pointer(bias), pointer(y)); });
  });
  module.def("bias_act_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner, int form, double alpha,
                                     double gain, double clamp, Address cotangent, Address dy, Address saved,
                                     Address bias, Address dx, Address grad_bias, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, threads};
    const Act act{static_cast<ActForm>(form), alpha, gain, clamp};
    const BiasActGrad grad{pointer(cotangent), pointer(dy), pointer(saved),
                           pointer(bias),      pointer(dx), pointer(grad_bias)};
    run(outer * channels * inner, [&] { bias_act_backward(shape, act, grad); });
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
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, threads};
    const PerChannel running_mean = per_channel(running, running_dtypes, 0);
    const PerChannel running_var = per_channel(running, running_dtypes, 1);
    run(outer * channels * inner, [&] {
      batch_norm_statistics(shape, pointer(x), pointer(mean), pointer(var), running_mean, running_var, momentum);
    });
  });
  module.def("batch_norm_leaky_relu", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                         double negative_slope, double eps, const Addresses& numbers,
                                         const Sizes& dtypes, Address x, Address y, int64_t stride, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, threads};
    const BatchNormCall call = batch_norm_call(shape, negative_slope, eps, numbers, dtypes);
    run(outer * channels * inner, [&] { batch_norm_leaky_relu(call, pointer(x), {pointer(y), stride}); });
  });
  module.def("batch_norm_leaky_relu_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                                  double negative_slope, double eps, const Addresses& numbers,
                                                  const Sizes& dtypes, Address dy, int64_t stride, Address x,
                                                  bool training, Address dx, const Addresses& grads,
                                                  const Sizes& grad_dtypes, Where threads) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, threads};
    const BatchNormCall call = batch_norm_call(shape, negative_slope, eps, numbers, dtypes);
    const PerChannel dweight = per_channel(grads, grad_dtypes, 0), dbias = per_channel(grads, grad_dtypes, 1);
    run(outer * channels * inner, [&] {
      batch_norm_leaky_relu_backward(call, {pointer(dy), stride}, pointer(x), training, pointer(dx), dweight, dbias);
    });
  });

  module.def("snake", [](int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last,
                         Address input, const Addresses& numbers, const Sizes& dtypes, bool log_scale, double eps,
                         Address output, Where threads) {
    const SnakeCall call = snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                      log_scale, eps, threads);
    run(samples * channels * length, [&] { snake(call, pointer(output)); });
  });
  module.def("snake_backward", [](int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last,
                                  Address input, const Addresses& numbers, const Sizes& dtypes, bool log_scale,
                                  double eps, Address dy, Address dx, const Addresses& grads, const Sizes& grad_dtypes,
                                  Where threads) {
    const SnakeCall call = snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                      log_scale, eps, threads);
    const SnakeGrad grad = snake_grad(dy, dx, grads, grad_dtypes);
    run(samples * channels * length, [&] { snake_backward(call, grad); });
  });
  module.def("anti_aliased_snake", [](int dtype, int64_t samples, int64_t channels, int64_t length,
                                      bool channels_last, Address input, const Addresses& numbers, const Sizes& dtypes,
                                      bool log_scale, double eps, const Addresses& filters, const Sizes& filter_dtypes,
                                      const Sizes& taps, Address output, Where threads) {
    const SnakeCall call = snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                      log_scale, eps, threads);
    const SnakeFilters both = snake_filters(filters, filter_dtypes, taps);
    run(samples * channels * length, [&] { anti_aliased_snake(call, both, pointer(output)); });
  });
  module.def("anti_aliased_snake_backward", [](int dtype, int64_t samples, int64_t channels, int64_t length,
                                               bool channels_last, Address input, const Addresses& numbers,
                                               const Sizes& dtypes, bool log_scale, double eps,
                                               const Addresses& filters, const Sizes& filter_dtypes,
                                               const Sizes& taps, Address dy, Address dx, const Addresses& grads,
                                               const Sizes& grad_dtypes, Where threads) {
    const SnakeCall call = snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                      log_scale, eps, threads);
    const SnakeFilters both = snake_filters(filters, filter_dtypes, taps);
    const SnakeGrad grad = snake_grad(dy, dx, grads, grad_dtypes);
    run(samples * channels * length, [&] { anti_aliased_snake_backward(call, both, grad); });
  });

  module.def("span_activations", [](int dtype, int64_t rows, int64_t width, Address spans, int64_t count,
                                    Address targets, int64_t num_conditions, double temperature, Address input,
                                    Address noise, Address conditions, Address output, int64_t stride, Address entropy,
                                    int entropy_dtype, Where threads) {
    const SpanTables tables = span_tables(spans, count, targets, num_conditions);
    const SpanCall call{static_cast<DType>(dtype), rows, width, tables, temperature, pointer(input), floats(noise),
                        integers(conditions), {pointer(output), stride}, threads};
    run(rows * width, [&] { span_activations(call, result_of(entropy, entropy_dtype)); });
  });
  module.def("span_activations_backward", [](int dtype, int64_t rows, int64_t width, Address spans, int64_t count,
                                             Address targets, int64_t num_conditions, double temperature,
                                             Address input, Address conditions, Address output, int64_t stride,
                                             Address grad, int64_t grad_stride, Address of_entropy,
                                             int of_entropy_dtype, Address dx, Where threads) {
    const SpanTables tables = span_tables(spans, count, targets, num_conditions);
    const SpanCall call{static_cast<DType>(dtype), rows, width, tables, temperature, pointer(input), nullptr,
                        integers(conditions), {pointer(output), stride}, threads};
    const SpanGrad grads{{pointer(grad), grad_stride}, scale_of(of_entropy, of_entropy_dtype), pointer(dx)};
    run(rows * width, [&] { span_activations_backward(call, grads); });
  });
  module.def("table_batch", [](int dtype, int64_t batch, int64_t width, int64_t rows, Address spans, int64_t count,
                               Address targets, int64_t num_conditions, Address codes, int64_t num_codes,
                               Address values, int64_t num_values, Address order, int64_t order_size, Address starts,
                               Address conditions, Address uniform, Address into, int64_t stride, Where threads) {
    const TableCall call{static_cast<DType>(dtype), batch, width, rows,
                         span_tables(spans, count, targets, num_conditions),
                         reinterpret_cast<const int32_t*>(codes), floats(values), num_codes, num_values,
                         reinterpret_cast<const int32_t*>(order), order_size, integers(starts), integers(conditions),
                         floats(uniform), {pointer(into), stride}, threads};
    run(batch * width, [&] { table_batch(call); });
  });
  module.def("draw_conditions", [](Address uniform, int64_t count, Address cumulative, int64_t conditions,
                                   Address drawn, Where threads) {
    const auto* shares = reinterpret_cast<const double*>(cumulative);
    run(count, [&] {
      draw_conditions(floats(uniform), count, shares, conditions, reinterpret_cast<int64_t*>(drawn), threads);
    });
  });

  module.def("upfirdn2d", [](int dtype, const std::array<int64_t, 6>& sizes, Address input, Address filter,
                             int filter_dtype, const std::array<int, 2>& taps, bool separable, bool flip,
                             const std::array<int, 2>& up, const std::array<int, 2>& down,
                             const std::array<int64_t, 2>& padding, double gain, Address output, Where threads) {
    const auto& [planes, in_height, in_width, out_height, out_width, inner] = sizes;
    const UpfirdnCall call{static_cast<DType>(dtype), planes, in_height, in_width, out_height, out_width, inner,
                           pointer(input), pointer(filter), static_cast<DType>(filter_dtype), taps[0], taps[1],
                           separable, flip, up[0], up[1], down[0], down[1], padding[0], padding[1], gain,
                           pointer(output), threads};
    run(planes * out_height * out_width * inner, [&] { upfirdn2d(call); });
  });

  module.def("draw", [](Address integers, Address normal, Address uniform, const std::array<int64_t, 3>& sizes,
                        const std::array<int64_t, 3>& begins, uint64_t high, uint64_t seed, Address step,
                        Where threads) {
    const DrawCall call{reinterpret_cast<int64_t*>(integers), floats(normal), floats(uniform),
                        {sizes[0], sizes[1], sizes[2]}, {begins[0], begins[1], begins[2]}, high, seed,
                        reinterpret_cast<const int64_t*>(step), threads};
    run(sizes[0] + sizes[1] + sizes[2], [&] { draw(call); });
  });
  module.def("adam", [](int dtype, int64_t size, Address values, Address grads, Address exp_avg, Address exp_avg_sq,
                        Address average, Address halves, Address count, bool is_first, Address learning_rate,
                        Address average_weight, double beta1, double beta2, double eps, double weight_decay,
                        Where threads) {
    if (is_first) ++*floats(count);
    const AdamCall call{pointer(values), pointer(grads), pointer(exp_avg), pointer(exp_avg_sq), pointer(average),
                        floats(count), floats(learning_rate), floats(average_weight), beta1, beta2, eps,
                        static_cast<DType>(dtype), pointer(halves), weight_decay};
    run(size, [&] { adam(call, size, threads); });
  });
  module.def("sgd", [](int dtype, int64_t size, Address values, Address grads, Address velocity, Address average,
                       Address halves, Address learning_rate, Address momentum, Address average_weight,
                       Where threads) {
    const SgdCall call{pointer(values), pointer(grads), pointer(velocity), pointer(average), floats(learning_rate),
                       floats(momentum), floats(average_weight), static_cast<DType>(dtype), pointer(halves)};
    run(size, [&] { sgd(call, size, threads); });
  });
  module.def("vector_norm", [](int dtype, Address x, int64_t size, int order, Address norm, int norm_dtype,
                               Where threads) {
    const Flat tensor{pointer(x), size, static_cast<DType>(dtype)};
    run(size, [&] { vector_norm(tensor, order, result_of(norm, norm_dtype), threads); });
  });
  module.def("clip", [](const Addresses& x, const Sizes& sizes, const Sizes& dtypes, double max_norm, Where threads) {
    std::vector<Flat> tensors;
    int64_t elements = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      tensors.push_back({pointer(x[i]), sizes[i], static_cast<DType>(dtypes[i])});
      elements += sizes[i];
    }
    run(elements, [&] { clip(tensors.data(), static_cast<int>(tensors.size()), max_norm, threads); });
  });
  module.def("record", [](const Addresses& scalars, Address table, int64_t rows, Address row, Address schedule,
                          int settings_count, Address settings, Address clock) {
    const std::vector<float*> each = floats(scalars);
    auto* current = static_cast<int64_t*>(pointer(row));
    if (*current < 0 || *current >= rows)
      throw py::index_error("row is " + std::to_string(*current) + ", expected one of " + std::to_string(rows));
    record({each.data(), static_cast<int>(each.size()), floats(table), current, floats(schedule), settings_count,
            floats(settings), static_cast<int64_t*>(pointer(clock))});
  });

  module.def("gather", [](bool is_bytes, Address data, int64_t count, Address indices, int64_t rows, int64_t width,
                          Address to, Where threads) {
    const auto* chosen = static_cast<const int64_t*>(pointer(indices));
    for (int64_t i = 0; i < rows; ++i)
      if (chosen[i] < 0 || chosen[i] >= count)
        throw py::index_error("rows has " + std::to_string(chosen[i]) + ", expected indices of " +
                              std::to_string(count) + " samples");
    for_each_range_of_rows(rows, width, threads, [&](int64_t first, int64_t last) {
      if (is_bytes)
        gather_rows(static_cast<const uint8_t*>(pointer(data)), chosen, floats(to), first, last, width);
      else
        gather_rows(floats(data), chosen, floats(to), first, last, width);
    });
  });
  module.def("add_noise", [](Address samples, Address noise, Address std, Address to, int64_t size, Where threads) {
    run(size, [&] {
      for_each_range(size, kChunk, size, threads, [&](int64_t first, int64_t last) {
        add_noise(floats(samples), floats(noise), floats(std), floats(to), first, last);
      });
    });
  });
  module.def("between", [](Address real, Address fake, Address share, Address to, int64_t rows, int64_t width,
                           Where threads) {
    for_each_range_of_rows(rows, width, threads, [&](int64_t first, int64_t last) {
      between_rows(floats(real), floats(fake), floats(share), floats(to), first, last, width);
    });
  });
  module.def("around", [](Address real, Address share, Address noise, Address to, int64_t rows, int64_t width,
                          Where threads) {
    const float half = half_deviation(floats(real), rows * width);
    for_each_range_of_rows(rows, width, threads, [&](int64_t first, int64_t last) {
      around_rows(floats(real), floats(share), floats(noise), half, floats(to), first, last, width);
    });
  });
  module.def("lipschitz", [](Address slope, Address grad, int64_t rows, int64_t width, double weight, Where threads) {
    for_each_range_of_rows(rows, width, threads, [&](int64_t first, int64_t last) {
      lipschitz_rows(floats(slope), floats(grad), first, last, width, weight);
    });
  });

  module.def("product", [](int64_t rows, int64_t columns, int64_t depth, Address a, int64_t a_row, int64_t a_column,
                           Address b, int64_t b_row, int64_t b_column, Address bias, Address c, int64_t c_row,
                           Address output, Address sums, float negative_slope, Where threads) {
    Product product{rows, columns, depth, floats(a), a_row, a_column, floats(b), b_row, b_column, floats(c), c_row};
    product.bias = floats(bias);
    product.output = floats(output);
    product.negative_slope = negative_slope;
    run(rows * columns, [&] {
      multiply(product, threads);
      if (sums != 0) multiply(row_sums(product.c, rows, columns, nullptr, floats(sums)), threads);
    });
  });
  module.def("linear_forward", [](int64_t n, int64_t k, int64_t m, double alpha, double gain, double clamp, Address x,
                                  Address w, Address bias, Address y, Where threads) {
    const Linear layer{n, k, m, {ActForm::leaky, alpha, gain, clamp}, floats(x), floats(w), threads};
    run(n * m, [&] { linear_forward(layer, floats(bias), floats(y)); });
  });
  module.def("linear_backward", [](int64_t n, int64_t k, int64_t m, double alpha, double gain, double clamp, Address x,
                                   Address w, Address dy, Address y, Address dx, Address dw, Address db,
                                   Where threads) {
    const Linear layer{n, k, m, {ActForm::leaky, alpha, gain, clamp}, floats(x), floats(w), threads};
    run(n * m, [&] { linear_backward(layer, floats(dy), floats(y), floats(dx), floats(dw), floats(db)); });
  });

  module.def("row_sums", [](int64_t rows, int64_t columns, Address matrix, Address sums, Where threads) {
    run(rows * columns, [&] { multiply(row_sums(floats(matrix), rows, columns, nullptr, floats(sums)), threads); });
  });

  module.def("activate", [](int kind, float negative_slope, int64_t pieces, int64_t rows, int64_t width, Address z,
                            Address y, Where threads) {
    const ActivationCall call{{static_cast<ActivationKind>(kind), negative_slope, pieces}, rows, width, threads};
    run(rows * width, [&] { activation_forward(call, floats(z), floats(y)); });
  });
  module.def("activation_backward", [](int kind, float negative_slope, int64_t pieces, int64_t rows, int64_t width,
                                       Address dy, Address z, Address y, Address dz, Where threads) {
    const ActivationCall call{{static_cast<ActivationKind>(kind), negative_slope, pieces}, rows, width, threads};
    run(rows * width, [&] { activation_backward(call, floats(dy), floats(z), floats(y), floats(dz)); });
  });
  module.def("maxout_tangent", [](int64_t pieces, int64_t rows, int64_t width, Address change, Address z, Address y,
                                  Address change_of_y, Where threads) {
    const ActivationCall call{{ActivationKind::maxout, 1, pieces}, rows, width, threads};
    run(rows * width, [&] { maxout_tangent(call, floats(change), floats(z), floats(y), floats(change_of_y)); });
  });

  module.def("mlp_forward", [](int64_t rows, const Sizes& features, const Sizes& kinds, const Numbers& slopes,
                               const Sizes& pieces, Address x, const Addresses& weights, const Addresses& biases,
                               const Addresses& products, const Addresses& outputs, Where threads) {
    const std::vector<int64_t> widths = copied(features);
    const auto activations = activations_of(kinds, slopes, pieces);
    const auto w = floats(weights), b = floats(biases), z = floats(products), y = floats(outputs);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), widths.data(), activations.data(), w.data(), threads};
    run(rows * widths.front(), [&] { mlp_forward(mlp, floats(x), b.data(), z.data(), y.data()); });
  });
  module.def("mlp_backward", [](int64_t rows, const Sizes& features, const Sizes& kinds, const Numbers& slopes,
                                const Sizes& pieces, const Addresses& weights, Address grad, Address x,
                                const Addresses& products, const Addresses& outputs, Address scale, int64_t first_row,
                                Address dx, const Addresses& dw, const Addresses& db, const Addresses& dz,
                                Address scratch, Where threads) {
    const std::vector<int64_t> widths = copied(features);
    const auto activations = activations_of(kinds, slopes, pieces);
    const auto w = floats(weights), z = floats(products), y = floats(outputs);
    const auto grad_w = floats(dw), grad_b = floats(db), grad_z = floats(dz);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), widths.data(), activations.data(), w.data(), threads};
    run(rows * widths.front(), [&] {
      mlp_backward(mlp, {floats(grad), floats(x), z.data(), y.data(), floats(scale), first_row, floats(dx),
                         grad_w.data(), grad_b.data(), grad_z.empty() ? nullptr : grad_z.data(), floats(scratch)});
    });
  });
  module.def("mlp_slope_backward", [](int64_t rows, const Sizes& features, const Sizes& kinds, const Numbers& slopes,
                                      const Sizes& pieces, const Addresses& weights, Address grad,
                                      const Addresses& dz, const Addresses& products, const Addresses& outputs,
                                      const Addresses& dw, Address scratch, Where threads) {
    const std::vector<int64_t> widths = copied(features);
    const auto activations = activations_of(kinds, slopes, pieces);
    const auto w = floats(weights), of_z = floats(dz), z = floats(products), y = floats(outputs), grad_w = floats(dw);
    const MLP mlp{rows, static_cast<int64_t>(w.size()), widths.data(), activations.data(), w.data(), threads};
    run(rows * widths.front(), [&] {
      mlp_slope_backward(mlp, {floats(grad), of_z.data(), z.data(), y.data(), grad_w.data(), floats(scratch)});
    });
  });

  bind_tape(module);
}

}  // namespace fastgan
