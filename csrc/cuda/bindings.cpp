// The module fastgan._cuda. Only launch errors are checked here: see ../bindings.h.
#include "../bindings.h"

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

#include "adam.h"
#include "batch_norm.h"
#include "bias_act.h"
#include "counters.h"
#include "device.h"
#include "draw.h"
#include "head.h"
#include "l1.h"
#include "losses.h"
#include "record.h"
#include "snake.h"
#include "span_activations.h"
#include "spectral_norm.h"
#include "table_batches.h"
#include "upfirdn2d.h"

namespace py = pybind11;

namespace fastgan::cuda {
namespace {

using Stream = std::pair<int, Address>;  // device index, stream handle

unsigned* counters(Address address) { return reinterpret_cast<unsigned*>(address); }
const int32_t* integers(Address address) { return reinterpret_cast<const int32_t*>(address); }
int64_t* longs(Address address) { return reinterpret_cast<int64_t*>(address); }

// Calls launch(stream) with the stream's device as the current one, as CUDA requires.
template <class Launch>
void run(const Stream& on, const Launch& launch) {
  int before = 0;
  cudaGetDevice(&before);
  if (before != on.first) cudaSetDevice(on.first);
  const cudaError_t error = launch(Where{on.second});
  if (before != on.first) cudaSetDevice(before);
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA launch failed: ") + cudaGetErrorString(error));
}

// A call without data, of which only sizes matter.
SnakeCall snake_sizes(int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last) {
  const PerChannel none{nullptr, DType::f32};
  return {static_cast<DType>(dtype), samples, channels, length, channels_last, nullptr, none, none, false, 0.0, 0};
}

}  // namespace

// Safe without the GIL: the only host state shared by calls is the slots of counters, which are atomic.
PYBIND11_MODULE(_cuda, module, py::mod_gil_not_used()) {
#if defined(FASTGAN_CUDA_ON_HOST)
  module.attr("DEVICE_TYPE") = "cpu";
#else
  module.attr("DEVICE_TYPE") = "cuda";
#endif
  module.attr("MOST_TENSORS") = kMostTensors;
  module.attr("LOSS_WORKSPACE_BYTES") = kWorkspaceBytes;
  module.attr("LOSS_TILE_BYTES") = kTileBytes;
  module.def("device_error", []() -> py::object {
    const cudaError_t error = check_device();
    return error == cudaSuccess ? py::object(py::none()) : py::str(cudaGetErrorString(error));
  });

  module.attr("COUNTER_SLOTS") = kSlots;
  module.attr("COUNTERS_OF_SLOT") = kCountersOfSlot;
  module.def("counter_bank", [] { return reinterpret_cast<Address>(counter_bank()); });
  module.def("capture_id", [](Address stream) { return capture_id(stream_of(stream)); });
  module.def("take_slot", [](int device, Address stream) { return take_slot(device, stream_of(stream)); });

  module.def("loss", [](int loss, int dtype, const Addresses& logits, const Sizes& sizes, const Numbers& labels,
                        const Numbers& weights, const Addresses& grads, Address scale, int scale_dtype, Address total,
                        int total_dtype, Address details, Address partials, Address counter, const Stream& on) {
    const auto tensors = loss_tensors(logits, sizes, labels, weights, grads);
    run(on, [&](Where where) {
      const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                          static_cast<int>(tensors.size()), scale_of(scale, scale_dtype), where};
      return loss_forward(call, {pointer(partials), counters(counter)}, result_of(total, total_dtype),
                          pointer(details));
    });
  });
  module.def("loss_backward", [](int loss, int dtype, const Addresses& logits, const Sizes& sizes,
                                 const Numbers& labels, const Numbers& weights, const Addresses& grads, Address scale,
                                 int scale_dtype, bool are_for_one, const Stream& on) {
    const auto tensors = loss_tensors(logits, sizes, labels, weights, grads);
    run(on, [&](Where where) {
      const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                          static_cast<int>(tensors.size()), scale_of(scale, scale_dtype), where};
      return loss_backward(call, are_for_one);
    });
  });
  module.def("loss_terms", [](int loss, int dtype, Address logits, int64_t size, double label, double weight,
                              Address incoming, Address result, const Stream& on) {
    const LossTensor tensor{pointer(logits), size, label, weight, pointer(incoming), pointer(result)};
    run(on, [&](Where where) {
      const LossCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), &tensor, 1, kOne, where};
      return incoming == 0 ? loss_terms(call) : loss_backward(call, false);
    });
  });

  module.attr("MOST_PAIRS") = kMostPairs;
  module.def("l1_loss", [](int dtype, const Addresses& x, const Addresses& y, const Sizes& sizes,
                           const Numbers& weights, const Addresses& dx, const Addresses& dy, Address scale,
                           int scale_dtype, Address loss, int loss_dtype, Address partials, Address counter,
                           const Stream& on) {
    const auto pairs = l1_pairs(x, y, sizes, weights, dx, dy);
    run(on, [&](Where where) {
      return l1_loss({static_cast<DType>(dtype), pairs.data(), static_cast<int>(pairs.size()),
                      scale_of(scale, scale_dtype), where},
                     {pointer(partials), counters(counter)}, result_of(loss, loss_dtype));
    });
  });
  module.def("l1_backward", [](int dtype, const Addresses& x, const Addresses& y, const Sizes& sizes,
                               const Numbers& weights, const Addresses& dx, const Addresses& dy, Address scale,
                               int scale_dtype, const Stream& on) {
    const auto pairs = l1_pairs(x, y, sizes, weights, dx, dy);
    run(on, [&](Where where) {
      return l1_backward({static_cast<DType>(dtype), pairs.data(), static_cast<int>(pairs.size()),
                          scale_of(scale, scale_dtype), where});
    });
  });
  module.def("l1_terms", [](int dtype, Address x, Address y, int64_t size, Address terms, const Stream& on) {
    const L1Pair pair{pointer(x), pointer(y), size, 1.0, nullptr, nullptr, nullptr};
    run(on, [&](Where where) { return l1_terms({static_cast<DType>(dtype), &pair, 1, kOne, where}, pointer(terms)); });
  });
  module.def("l1_terms_backward", [](int dtype, Address x, Address y, int64_t size, Address incoming, Address dx,
                                     Address dy, const Stream& on) {
    const L1Pair pair{pointer(x), pointer(y), size, 1.0, pointer(dx), pointer(dy), pointer(incoming)};
    run(on, [&](Where where) { return l1_backward({static_cast<DType>(dtype), &pair, 1, kOne, where}); });
  });

  module.def("head_workspace", [](int dtype, const Sizes& rows, int64_t width) {
    std::vector<HeadTensor> tensors;
    for (size_t i = 0; i < rows.size(); ++i) tensors.push_back({nullptr, rows[i], 0.0, 1.0, nullptr, nullptr});
    const HeadWorkspace room = head_workspace({Loss::bce, static_cast<DType>(dtype), tensors.data(),
                                               static_cast<int>(tensors.size()), width, nullptr, nullptr, kOne, 0});
    return py::make_tuple(room.sums, room.counters);
  });
  module.def("head_loss", [](int loss, int dtype, const Addresses& features, const Sizes& rows, const Numbers& labels,
                             const Numbers& weights, const Addresses& slopes, const Addresses& grads, int64_t width,
                             Address weight, Address bias, Address scale, int scale_dtype, Address total,
                             int total_dtype, Address details, Address dw, Address db, int grads_dtype,
                             Address partials, Address counter, const Stream& on) {
    const auto tensors = head_tensors(features, rows, labels, weights, slopes, grads);
    run(on, [&](Where where) {
      const HeadCall call{static_cast<Loss>(loss), static_cast<DType>(dtype), tensors.data(),
                          static_cast<int>(tensors.size()), width, pointer(weight), pointer(bias),
                          scale_of(scale, scale_dtype), where};
      return head_loss(call, {pointer(partials), counters(counter)}, result_of(total, total_dtype), pointer(details),
                       result_of(dw, grads_dtype), result_of(db, grads_dtype));
    });
  });
  module.def("head_grad", [](int dtype, Address slopes, int64_t rows, int64_t width, Address weight, Address scale,
                             int scale_dtype, Address grad, const Stream& on) {
    const HeadTensor tensor{nullptr, rows, 0.0, 1.0, pointer(slopes), pointer(grad)};
    run(on, [&](Where where) {
      return head_grad({Loss::bce, static_cast<DType>(dtype), &tensor, 1, width, pointer(weight), nullptr,
                        scale_of(scale, scale_dtype), where});
    });
  });

  module.def("layer_workspace", [](int dtype, int64_t outer, int64_t channels, int64_t inner) {
    const LayerWorkspace room = layer_workspace({static_cast<DType>(dtype), outer, channels, inner, 0});
    return py::make_tuple(room.sums, room.counters);
  });
  module.def("bias_act", [](int dtype, int64_t outer, int64_t channels, int64_t inner, int form, double alpha,
                            double gain, double clamp, Address x, Address bias, Address y, const Stream& on) {
    run(on, [&](Where where) {
      return bias_act({static_cast<DType>(dtype), outer, channels, inner, where},
                      {static_cast<ActForm>(form), alpha, gain, clamp}, pointer(x), pointer(bias), pointer(y));
    });
  });
  module.def("bias_act_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner, int form, double alpha,
                                     double gain, double clamp, Address cotangent, Address dy, Address saved,
                                     Address bias, Address dx, Address grad_bias, Address partials, Address counter,
                                     const Stream& on) {
    run(on, [&](Where where) {
      return bias_act_backward({static_cast<DType>(dtype), outer, channels, inner, where},
                               {static_cast<ActForm>(form), alpha, gain, clamp},
                               {pointer(cotangent), pointer(dy), pointer(saved), pointer(bias), pointer(dx),
                                pointer(grad_bias)},
                               pointer(partials), counters(counter));
    });
  });

  module.attr("MOST_WEIGHTS") = kMostWeights;
  module.def("spectral_workspace", [](int dtype, const Sizes& rows, const Sizes& columns) {
    std::vector<SpectralWeight> weights;
    for (size_t i = 0; i < rows.size(); ++i)
      weights.push_back({nullptr, rows[i], columns[i], nullptr, nullptr, nullptr, nullptr, nullptr});
    return spectral_workspace({static_cast<DType>(dtype), weights.data(), static_cast<int>(weights.size()), 0.0, 0,
                               false, nullptr, 0});
  });
  module.def("spectral_norm", [](int dtype, const Addresses& weights, const Sizes& rows, const Sizes& columns,
                                 const Addresses& u, const Addresses& v, const Addresses& new_u,
                                 const Addresses& new_v, const Addresses& scaled, Address sigma, double eps,
                                 int iterations, bool columns_first, Address partials, Address counter,
                                 const Stream& on) {
    const auto matrices = spectral_weights(weights, rows, columns, u, v, new_u, new_v, scaled);
    run(on, [&](Where where) {
      return spectral_norm({static_cast<DType>(dtype), matrices.data(), static_cast<int>(matrices.size()), eps,
                            iterations, columns_first, pointer(sigma), where},
                           {pointer(partials), counters(counter)});
    });
  });
  module.def("spectral_norm_backward", [](int dtype, const Addresses& weights, const Sizes& rows,
                                          const Sizes& columns, const Addresses& u, const Addresses& v,
                                          const Addresses& grads, const Addresses& dw, Address sigma,
                                          Address partials, const Stream& on) {
    const auto matrices = spectral_grads(weights, rows, columns, u, v, grads, dw);
    run(on, [&](Where where) {
      return spectral_norm_backward({static_cast<DType>(dtype), matrices.data(), static_cast<int>(matrices.size()),
                                     pointer(sigma), where},
                                    pointer(partials));
    });
  });
  module.def("batch_norm_statistics", [](int dtype, int64_t outer, int64_t channels, int64_t inner, Address x,
                                         Address mean, Address var, const Addresses& running, const Sizes& dtypes,
                                         double momentum, Address partials, Address counter, const Stream& on) {
    run(on, [&](Where where) {
      const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, where};
      return batch_norm_statistics(shape, pointer(x), pointer(mean), pointer(var), per_channel(running, dtypes, 0),
                                   per_channel(running, dtypes, 1), momentum, {pointer(partials), counters(counter)});
    });
  });
  module.def("batch_norm_leaky_relu", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                         double negative_slope, double eps, const Addresses& numbers,
                                         const Sizes& dtypes, Address x, Address y, int64_t y_stride,
                                         const Stream& on) {
    run(on, [&](Where where) {
      const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, where};
      return batch_norm_leaky_relu(batch_norm_call(shape, negative_slope, eps, numbers, dtypes), pointer(x),
                                   {pointer(y), y_stride});
    });
  });
  module.def("batch_norm_leaky_relu_backward",
             [](int dtype, int64_t outer, int64_t channels, int64_t inner, double negative_slope, double eps,
                const Addresses& numbers, const Sizes& dtypes, Address dy, int64_t dy_stride, Address x, Address dx,
                const Addresses& gradients, const Sizes& gradient_dtypes, Address averages, Address partials,
                Address counter, const Stream& on) {
               run(on, [&](Where where) {
                 const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, where};
                 const BatchNormGradients to{pointer(dx), per_channel(gradients, gradient_dtypes, 0),
                                             per_channel(gradients, gradient_dtypes, 1), pointer(averages)};
                 return batch_norm_leaky_relu_backward(batch_norm_call(shape, negative_slope, eps, numbers, dtypes),
                                                       {pointer(dy), dy_stride}, pointer(x), to,
                                                       {pointer(partials), counters(counter)});
               });
             });

  module.def("snake_partials", [](int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last) {
    return snake_partials(snake_sizes(dtype, samples, channels, length, channels_last));
  });
  module.def("snake", [](int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last,
                         Address input, const Addresses& numbers, const Sizes& dtypes, bool log_scale, double eps,
                         Address output, const Stream& on) {
    run(on, [&](Where where) {
      return snake(snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes, log_scale, eps,
                              where),
                   pointer(output));
    });
  });
  module.def("snake_backward", [](int dtype, int64_t samples, int64_t channels, int64_t length, bool channels_last,
                                  Address input, const Addresses& numbers, const Sizes& dtypes, bool log_scale,
                                  double eps, Address dy, Address dx, const Addresses& grads, const Sizes& grad_dtypes,
                                  Address partials, const Stream& on) {
    run(on, [&](Where where) {
      return snake_backward(snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                       log_scale, eps, where),
                            snake_grad(dy, dx, grads, grad_dtypes), pointer(partials));
    });
  });
  module.def("anti_aliased_snake_partials", [](int dtype, int64_t samples, int64_t channels, int64_t length,
                                               bool channels_last, int up_taps, int down_taps) {
    return anti_aliased_snake_partials(snake_sizes(dtype, samples, channels, length, channels_last),
                                       {nullptr, nullptr, DType::f32, DType::f32, up_taps, down_taps});
  });
  module.def("anti_aliased_snake", [](int dtype, int64_t samples, int64_t channels, int64_t length,
                                      bool channels_last, Address input, const Addresses& numbers, const Sizes& dtypes,
                                      bool log_scale, double eps, const Addresses& filters, const Sizes& filter_dtypes,
                                      const Sizes& taps, Address output, const Stream& on) {
    run(on, [&](Where where) {
      return anti_aliased_snake(snake_call(dtype, samples, channels, length, channels_last, input, numbers, dtypes,
                                           log_scale, eps, where),
                                snake_filters(filters, filter_dtypes, taps), pointer(output));
    });
  });
  module.def("anti_aliased_snake_backward", [](int dtype, int64_t samples, int64_t channels, int64_t length,
                                               bool channels_last, Address input, const Addresses& numbers,
                                               const Sizes& dtypes, bool log_scale, double eps,
                                               const Addresses& filters, const Sizes& filter_dtypes,
                                               const Sizes& taps, Address dy, Address dx, const Addresses& grads,
                                               const Sizes& grad_dtypes, Address partials, const Stream& on) {
    run(on, [&](Where where) {
      return anti_aliased_snake_backward(snake_call(dtype, samples, channels, length, channels_last, input, numbers,
                                                    dtypes, log_scale, eps, where),
                                         snake_filters(filters, filter_dtypes, taps),
                                         snake_grad(dy, dx, grads, grad_dtypes), pointer(partials));
    });
  });

  module.def("upfirdn2d", [](int dtype, int64_t planes, int64_t in_height, int64_t in_width, int64_t out_height,
                             int64_t out_width, int64_t inner, Address input, Address filter, int filter_dtype,
                             int filter_height, int filter_width, bool separable, bool flip, int up_x, int up_y,
                             int down_x, int down_y, int64_t left, int64_t top, double gain, Address output,
                             const Stream& on) {
    run(on, [&](Where where) {
      return upfirdn2d({static_cast<DType>(dtype), planes, in_height, in_width, out_height, out_width, inner,
                        pointer(input), pointer(filter), static_cast<DType>(filter_dtype), filter_height, filter_width,
                        separable, flip, up_x, up_y, down_x, down_y, left, top, gain, pointer(output), where});
    });
  });

  module.attr("SPAN_PARTIALS") = kSpanPartials;
  module.def("span_activations", [](int dtype, int64_t rows, int64_t width, Address spans, int64_t spans_count,
                                    Address targets, int64_t targets_count, double temperature, Address input,
                                    Address noise, Address conditions, Address output, int64_t output_stride,
                                    Address entropy, Address partials, Address counter, const Stream& on) {
    run(on, [&](Where where) {
      return span_activations({static_cast<DType>(dtype), rows, width,
                               {integers(spans), spans_count, integers(targets), targets_count}, temperature,
                               pointer(input), floats(noise), longs(conditions), {pointer(output), output_stride},
                               where},
                              pointer(entropy), {pointer(partials), counters(counter)});
    });
  });
  module.def("span_activations_backward", [](int dtype, int64_t rows, int64_t width, Address spans,
                                             int64_t spans_count, Address targets, int64_t targets_count,
                                             double temperature, Address input, Address conditions, Address output,
                                             int64_t output_stride, Address grad, int64_t grad_stride, Address entropy,
                                             int entropy_dtype, Address dx, const Stream& on) {
    run(on, [&](Where where) {
      return span_activations_backward(
          {static_cast<DType>(dtype), rows, width, {integers(spans), spans_count, integers(targets), targets_count},
           temperature, pointer(input), nullptr, longs(conditions), {pointer(output), output_stride}, where},
          {pointer(grad), grad_stride}, scale_of(entropy, entropy_dtype), pointer(dx));
    });
  });

  module.def("draw_conditions", [](Address uniform, int64_t count, Address cumulative, int64_t conditions,
                                   Address drawn, const Stream& on) {
    run(on, [&](Where where) {
      return draw_conditions(floats(uniform), count, reinterpret_cast<const double*>(cumulative), conditions,
                             longs(drawn), where);
    });
  });
  module.def("table_batch", [](int dtype, int64_t batch, int64_t width, int64_t rows, Address spans,
                               int64_t spans_count, Address targets, int64_t targets_count, Address codes,
                               Address values, int64_t num_codes, int64_t num_values, Address order,
                               int64_t order_size, Address starts, Address conditions, Address uniform, Address into,
                               int64_t into_stride, const Stream& on) {
    run(on, [&](Where where) {
      return table_batch({static_cast<DType>(dtype), batch, width, rows,
                          {integers(spans), spans_count, integers(targets), targets_count}, integers(codes),
                          floats(values), num_codes, num_values, integers(order), longs(starts), longs(conditions),
                          floats(uniform), {pointer(into), into_stride}, where},
                         order_size);
    });
  });

  module.def("adam", [](int dtype, int64_t size, Address values, Address grads, Address exp_avg, Address exp_avg_sq,
                        Address average, Address halves, Address count, bool is_first, Address learning_rate,
                        Address average_weight, double beta1, double beta2, double eps, double weight_decay,
                        Address counter, const Stream& on) {
    run(on, [&](Where where) {
      return adam({static_cast<DType>(dtype), size, pointer(values), pointer(grads), pointer(exp_avg),
                   pointer(exp_avg_sq), pointer(average), pointer(halves), floats(count), is_first,
                   floats(learning_rate), floats(average_weight), beta1, beta2, eps, weight_decay,
                   counters(counter), where});
    });
  });
  module.def("draw", [](Address integers, Address normal, Address uniform, const std::array<int64_t, 3>& sizes,
                        const std::array<int64_t, 3>& begins, uint64_t high, uint64_t seed, Address step,
                        const Stream& on) {
    run(on, [&](Where where) {
      return draw({longs(integers), floats(normal), floats(uniform), {sizes[0], sizes[1], sizes[2]},
                   {begins[0], begins[1], begins[2]}, high, seed, longs(step), where});
    });
  });
  module.def("record", [](const Addresses& scalars, Address table, Address row, Address schedule, int settings_count,
                          Address settings, Address clock, const Stream& on) {
    if (scalars.size() > kMostScalars)
      throw std::invalid_argument("a step has " + std::to_string(scalars.size()) + " statistics, expected at most " +
                                  std::to_string(kMostScalars));
    run(on, [&](Where where) {
      RecordCall call{{}, static_cast<int>(scalars.size()), floats(table), longs(row),
                      floats(schedule), settings_count, floats(settings), longs(clock), where};
      for (size_t i = 0; i < scalars.size(); ++i) call.scalars[i] = floats(scalars[i]);
      return record(call);
    });
  });
}

}  // namespace fastgan::cuda
