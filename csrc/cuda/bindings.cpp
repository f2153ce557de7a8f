// The module fastgan._cuda. Pointers arrive as integers, from fastgan/kernels/ alone, which has checked device,
// dtype, contiguity and sizes; nothing is checked again here but the launch.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "adam.h"
#include "bias_leaky_relu.h"
#include "counters.h"
#include "device.h"
#include "draw.h"
#include "head.h"
#include "losses.h"
#include "reconstruction.h"
#include "record.h"

namespace py = pybind11;

namespace fastgan::cuda {
namespace {

using Address = uintptr_t;

void* pointer(Address address) { return reinterpret_cast<void*>(address); }
float* floats(Address address) { return reinterpret_cast<float*>(address); }
unsigned* counters(Address address) { return reinterpret_cast<unsigned*>(address); }
cudaStream_t stream(Address address) { return reinterpret_cast<cudaStream_t>(address); }

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("a CUDA launch failed: ") + cudaGetErrorString(error));
}

}  // namespace

// Calls share nothing on the host but the slots of counters, which are atomic.
PYBIND11_MODULE(_cuda, module, py::mod_gil_not_used()) {
#if defined(FASTGAN_CUDA_ON_HOST)
  module.attr("DEVICE_TYPE") = "cpu";
#else
  module.attr("DEVICE_TYPE") = "cuda";
#endif
  module.attr("LOSS_WORKSPACE_BYTES") = kWorkspaceBytes;
  module.attr("LOSS_TILE_BYTES") = kTileBytes;
  module.def("device_error", []() -> py::object {
    const cudaError_t error = check_device();
    return error == cudaSuccess ? py::object(py::none()) : py::str(cudaGetErrorString(error));
  });

  module.attr("COUNTER_SLOTS") = kSlots;
  module.attr("COUNTERS_OF_SLOT") = kCountersOfSlot;
  module.def("counter_bank", [] { return reinterpret_cast<Address>(counter_bank()); });
  module.def("capture_id", [](Address on) { return capture_id(stream(on)); });
  module.def("take_slot", [](int device, Address on) { return take_slot(device, stream(on)); });

  module.def("loss", [](int of, int dtype, Address a, int64_t size_a, double label_a, Address grad_a, Address b,
                        int64_t size_b, Address grad_b, int count, double sign, bool mean, Address scale,
                        int scale_dtype, Address loss, int loss_dtype, Address stats, Address partials, Address counter,
                        Address on) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {{pointer(a), size_a, label_a, nullptr, pointer(grad_a)},
                         {pointer(b), size_b, 0.0, nullptr, pointer(grad_b)}},
                        count, sign, mean, stream(on)};
    check(loss_forward(call, {pointer(partials), counters(counter)}, pointer(scale), static_cast<DType>(scale_dtype),
                       pointer(loss), static_cast<DType>(loss_dtype), floats(stats)));
  });
  module.def("loss_backward", [](int of, int dtype, Address a, int64_t size_a, double label_a, Address grad_a,
                                 Address b, int64_t size_b, Address grad_b, double sign, bool mean, Address scale,
                                 int scale_dtype, bool are_for_one, Address on) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {{pointer(a), size_a, label_a, nullptr, pointer(grad_a)},
                         {pointer(b), size_b, 0.0, nullptr, pointer(grad_b)}},
                        2, sign, mean, stream(on)};
    check(loss_backward(call, pointer(scale), static_cast<DType>(scale_dtype), are_for_one));
  });
  module.def("loss_terms", [](int of, int dtype, Address logits, int64_t size, double label, double sign,
                              Address incoming, Address result, Address on) {
    const LossCall call{static_cast<Loss>(of), static_cast<DType>(dtype),
                        {{pointer(logits), size, label, pointer(incoming), pointer(result)}, {}},
                        1, sign, false, stream(on)};
    check(incoming == 0 ? loss_terms(call) : loss_terms_backward(call));
  });

  module.def("reconstruction_loss", [](int dtype, Address x, Address y, int64_t size, Address dx, Address dy, bool mean,
                                       Address scale, int scale_dtype, Address loss, int loss_dtype, Address partials,
                                       Address counter, Address on) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, pointer(dx), pointer(dy), mean,
                                  stream(on)};
    check(reconstruction_loss(call, {pointer(partials), counters(counter)}, pointer(scale),
                              static_cast<DType>(scale_dtype), pointer(loss), static_cast<DType>(loss_dtype)));
  });
  module.def("reconstruction_terms", [](int dtype, Address x, Address y, int64_t size, Address terms, Address on) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, nullptr, nullptr, false,
                                  stream(on)};
    check(reconstruction_terms(call, pointer(terms)));
  });
  module.def("reconstruction_backward", [](int dtype, Address x, Address y, int64_t size, Address dx, Address dy, bool mean,
                                           Address incoming, Address scale, int scale_dtype, Address on) {
    const ReconstructionCall call{static_cast<DType>(dtype), pointer(x), pointer(y), size, pointer(dx), pointer(dy), mean,
                                  stream(on)};
    check(reconstruction_backward(call, pointer(incoming), pointer(scale), static_cast<DType>(scale_dtype)));
  });

  module.def("head_workspace", [](int dtype, int64_t rows_a, int64_t rows_b, int64_t width) {
    const HeadCall call{static_cast<DType>(dtype), {{nullptr, rows_a, 0.0, nullptr, nullptr}, {nullptr, rows_b, 0.0, nullptr, nullptr}},
                        2, width, nullptr, nullptr, 1.0, false, nullptr};
    const HeadWorkspace room = head_workspace(call);
    return py::make_tuple(room.sums, room.counters);
  });
  module.def("head_loss", [](int dtype, Address a, int64_t rows_a, double label_a, Address slopes_a, Address grad_a,
                             Address b, int64_t rows_b, Address slopes_b, Address grad_b, int count, int64_t width,
                             Address weight, Address bias, double sign, bool mean, Address scale, int scale_dtype,
                             Address loss, int loss_dtype, Address stats, Address dw, Address db, int grads_dtype,
                             Address sums, Address counter, Address on) {
    const HeadCall call{static_cast<DType>(dtype),
                        {{pointer(a), rows_a, label_a, pointer(slopes_a), pointer(grad_a)},
                         {pointer(b), rows_b, 0.0, pointer(slopes_b), pointer(grad_b)}},
                        count, width, pointer(weight), pointer(bias), sign, mean, stream(on)};
    check(head_loss(call, pointer(sums), counters(counter), pointer(scale), static_cast<DType>(scale_dtype), pointer(loss),
                    static_cast<DType>(loss_dtype), floats(stats), pointer(dw), pointer(db),
                    static_cast<DType>(grads_dtype)));
  });
  module.def("head_grad", [](int dtype, Address slopes, int64_t rows, int64_t width, Address weight, Address scale,
                             int scale_dtype, Address grad, Address on) {
    const HeadCall call{static_cast<DType>(dtype), {{nullptr, rows, 0.0, pointer(slopes), pointer(grad)}, {}},
                        1, width, pointer(weight), nullptr, 1.0, false, stream(on)};
    check(head_grad(call, pointer(scale), static_cast<DType>(scale_dtype)));
  });

  module.def("layer_workspace", [](int dtype, int64_t outer, int64_t channels, int64_t inner) {
    const LayerWorkspace room = layer_workspace({static_cast<DType>(dtype), outer, channels, inner, 0.0, nullptr});
    return py::make_tuple(room.sums, room.counters);
  });
  module.def("bias_leaky_relu_forward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                           double negative_slope, Address x, Address bias, Address y, Address on) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, stream(on)};
    check(bias_leaky_relu_forward(shape, pointer(x), pointer(bias), pointer(y)));
  });
  module.def("bias_leaky_relu_backward", [](int dtype, int64_t outer, int64_t channels, int64_t inner,
                                            double negative_slope, Address dy, Address y, Address dx, Address grad_bias,
                                            Address sums, Address counter, Address on) {
    const LayerShape shape{static_cast<DType>(dtype), outer, channels, inner, negative_slope, stream(on)};
    check(bias_leaky_relu_backward(shape, pointer(dy), pointer(y), pointer(dx), pointer(grad_bias), pointer(sums),
                                   counters(counter)));
  });

  module.def("adam", [](int dtype, int64_t size, Address values, Address grads, Address exp_avg, Address exp_avg_sq,
                        Address average, Address halves, Address count, bool is_first, Address learning_rate,
                        Address average_weight, double beta1, double beta2, double eps, Address counter, Address on) {
    check(adam({static_cast<DType>(dtype), size, pointer(values), pointer(grads), pointer(exp_avg), pointer(exp_avg_sq),
                pointer(average), pointer(halves), floats(count), is_first, floats(learning_rate),
                floats(average_weight), beta1, beta2, eps, counters(counter), stream(on)}));
  });
  module.def("draw", [](Address integers, Address normal, Address uniform, std::array<int64_t, 3> sizes,
                        std::array<int64_t, 3> begins, uint64_t high, uint64_t seed, Address step, Address on) {
    check(draw({reinterpret_cast<int64_t*>(integers), floats(normal), floats(uniform), {sizes[0], sizes[1], sizes[2]},
                {begins[0], begins[1], begins[2]}, high, seed, reinterpret_cast<const int64_t*>(step), stream(on)}));
  });
  module.def("record", [](const std::vector<Address>& scalars, Address table, Address row, Address schedule,
                          int settings_count, Address settings, Address clock, Address on) {
    RecordCall call{{}, static_cast<int>(scalars.size()), floats(table), reinterpret_cast<int64_t*>(row),
                    floats(schedule), settings_count, floats(settings), reinterpret_cast<int64_t*>(clock), stream(on)};
    if (scalars.size() > kMostScalars)
      throw std::invalid_argument("a step has " + std::to_string(scalars.size()) + " statistics, expected at most " +
                                  std::to_string(kMostScalars));
    for (size_t i = 0; i < scalars.size(); ++i) call.scalars[i] = floats(scalars[i]);
    check(record(call));
  });
}

}  // namespace fastgan::cuda
