// The class fastgan._cpu.Tape and its replay. fastgan/_cpu.pyi describes the arguments.
#include "tape_bindings.h"

#include <chrono>

#include "../bindings.h"
#include "products.h"
#include "samples.h"
#include "spans.h"
#include "tape_calls.h"
#include "tape_table_bindings.h"
#include "vector_norm.h"

namespace py = pybind11;

namespace fastgan {
namespace {

using Clock = std::chrono::steady_clock;

// Decides when a replay ends before its last tape: after some time, or when a signal's handler or another thread asks.
class Watch {
 public:
  Watch(double seconds, const py::function& is_stopping)
      : end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))),
        is_stopping_(is_stopping) {}

  // Called without the GIL.
  bool must_stop() {
    const Clock::time_point now = Clock::now();
    if (!is_stopped_ && now >= next_) {
      const py::gil_scoped_acquire acquire;
      // Handlers of signals run in both calls. An error stays set until the replay has ended: thrown from here, it
      // would leave the other threads in it, and Python must not be called while it is set.
      is_stopped_ = PyErr_CheckSignals() != 0 || asks();
      // other threads of Python may hold the GIL for long
      next_ = Clock::now() + std::max<Clock::duration>(kInterval, 20 * (Clock::now() - now));
    }
    return is_stopped_ || now >= end_;
  }

 private:
  // True after an error too.
  bool asks() const {
    const auto answer = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(is_stopping_.ptr()));
    return !answer || PyObject_IsTrue(answer.ptr()) != 0;
  }

  static constexpr std::chrono::milliseconds kInterval{1};
  const Clock::time_point end_;
  Clock::time_point next_ = Clock::now() + kInterval;
  const py::function& is_stopping_;
  bool is_stopped_ = false;
};

void bind_products(TapeClass& tape) {
  tape.def("forward", [](Tape& self, int64_t per_row, int64_t width, int64_t features, Address x, int64_t x_row,
                         Address hot, int64_t hot_columns, Address w, Address packed, Address bias,
                         float negative_slope, Address y, int64_t y_row) {
    Product p{0, features, width, floats(x), x_row, 1, floats(w), 1, width, floats(y), y_row};
    p.hot = static_cast<const int64_t*>(pointer(hot));
    p.hot_columns = hot_columns;
    p.packed_b = floats(packed);
    p.bias = floats(bias);
    p.activate = negative_slope != 1;
    p.negative_slope = negative_slope;
    self.add(product_call(p, per_row));
  });
  tape.def("dgrad", [](Tape& self, int64_t per_row, int64_t width, int64_t features, Address dz, Address w,
                       Address packed, Address output, float negative_slope, Address dx, int64_t columns) {
    Product p{0, columns, features, floats(dz), features, 1, floats(w), width, 1, floats(dx), columns};
    p.packed_b = floats(packed);
    p.output = floats(output);
    p.negative_slope = negative_slope;
    self.add(product_call(p, per_row));
  });
  tape.def("climb", [](Tape& self, int64_t per_row, int64_t width, int64_t features, Address x, Address w,
                       Address packed, Address output, float negative_slope, Address y) {
    Product p{0, features, width, floats(x), width, 1, floats(w), 1, width, floats(y), features};
    p.packed_b = floats(packed);
    p.output = floats(output);
    p.negative_slope = negative_slope;
    self.add(product_call(p, per_row));
  });
  tape.def("wgrad", [](Tape& self, int64_t rows, int64_t width, int64_t features, Address dz, Address scale, Address x,
                       int64_t x_row, Address dw, int64_t dw_row) {
    Product p{features, width, rows, floats(dz), 1, features, floats(x), x_row, 1, floats(dw), dw_row};
    p.a_scale = floats(scale);
    self.add(product_call(p, 1));
  });
  tape.def("hot_wgrad", [](Tape& self, int64_t rows, int64_t columns, int64_t features, Address dz, Address hot,
                           Address dw, int64_t dw_row) {
    const auto* chosen = static_cast<const int64_t*>(pointer(hot));
    const HotGradient gradient{floats(dz), rows, features, chosen, columns, floats(dw), dw_row};
    self.add([=](int64_t first, int64_t last) { hot_gradient(gradient, first, last); });
  });
  tape.def("bias_gradient", [](Tape& self, int64_t rows, int64_t features, Address dz, Address scale, Address db) {
    self.add(columns_call(row_sums(floats(dz), rows, features, floats(scale), floats(db))));
  });
  tape.def("pack", [](Tape& self, int64_t features, int64_t width, Address weight, Address forward, Address dgrad) {
    self.add(pack_call(floats(weight), features, width, floats(forward), floats(dgrad)));
  });
}

// Between the products of a batch: each takes the number of elements (or rows) for each row of its unit.
void bind_samples(TapeClass& tape) {
  tape.def("draw", [](Tape& self, int64_t per_row, int kind, Address to, int64_t begin, uint64_t high, uint64_t seed,
                      Address step) {
    const Drawn drawn{kind, pointer(to), begin, high, seed, static_cast<const int64_t*>(pointer(step))};
    self.add(draw_call(drawn, per_row));
  });
  tape.def("gather", [](Tape& self, int64_t per_row, bool is_bytes, Address data, Address rows, Address to,
                        int64_t width) {
    const auto* chosen = static_cast<const int64_t*>(pointer(rows));
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      is_bytes ? gather_rows(static_cast<const uint8_t*>(pointer(data)), chosen, floats(to), first, last, width)
               : gather_rows(floats(data), chosen, floats(to), first, last, width);
    }));
  });
  tape.def("add_noise", [](Tape& self, int64_t per_row, Address samples, Address noise, Address std, Address to) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      add_noise(floats(samples), floats(noise), floats(std), floats(to), first, last);
    }));
  });
  tape.def("scale", [](Tape& self, int64_t per_row, Address source, float factor, Address to) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      scale_range(floats(source), floats(to), first, last, factor);
    }));
  });
  tape.def("scale_shift", [](Tape& self, int64_t per_row, Address x, float factor, float shift) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      scale_shift_range(floats(x), first, last, factor, shift);
    }));
  });
  tape.def("fill", [](Tape& self, int64_t per_row, Address to, float value) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      std::fill(floats(to) + first, floats(to) + last, value);
    }));
  });
  tape.def("copy", [](Tape& self, int64_t per_row, Address source, Address to) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      std::copy(floats(source) + first, floats(source) + last, floats(to) + first);
    }));
  });
  tape.def("multiply_rows", [](Tape& self, int64_t per_row, Address x, Address factors, Address to, int64_t width) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      multiply_rows(floats(x), floats(factors), floats(to), first, last, width);
    }));
  });
  tape.def("between", [](Tape& self, int64_t per_row, Address real, Address fake, Address share, Address to,
                         int64_t width) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      between_rows(floats(real), floats(fake), floats(share), floats(to), first, last, width);
    }));
  });
  tape.def("half_deviation", [](Tape& self, Address real, int64_t size, Address to) {
    self.add([=](int64_t, int64_t) { *floats(to) = half_deviation(floats(real), size); });
  });
  tape.def("around", [](Tape& self, int64_t per_row, Address real, Address share, Address noise, Address half,
                        Address to, int64_t width) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      around_rows(floats(real), floats(share), floats(noise), *floats(half), floats(to), first, last, width);
    }));
  });
  tape.def("lipschitz", [](Tape& self, int64_t per_row, Address slope, Address grad, int64_t width, double weight) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      lipschitz_rows(floats(slope), floats(grad), first, last, width, weight);
    }));
  });
}

void bind_activations(TapeClass& tape) {
  tape.def("activate", [](Tape& self, int64_t per_row, Address z, int kind) {
    const Activation activation{static_cast<ActivationKind>(kind), 1, 1};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      kernels().activate(floats(z) + first, floats(z) + first, last - first, activation);
    }));
  });
  tape.def("activation_grad", [](Tape& self, int64_t per_row, Address dy, Address y, Address dz, int kind,
                                 float negative_slope) {
    const Activation activation{static_cast<ActivationKind>(kind), negative_slope, 1};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      kernels().activation_grad(floats(dy) + first, floats(y) + first, floats(dz) + first, last - first, activation);
    }));
  });
  tape.def("maxout", [](Tape& self, int64_t per_row, Address z, Address y, int64_t width, int64_t pieces) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      kernels().maxout(floats(z) + first * pieces * width, floats(y) + first * width, last - first, width, pieces);
    }));
  });
  tape.def("maxout_grad", [](Tape& self, int64_t per_row, Address dy, Address z, Address y, Address dz, int64_t width,
                             int64_t pieces) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      kernels().maxout_grad(floats(dy) + first * width, floats(z) + first * pieces * width, floats(y) + first * width,
                            floats(dz) + first * pieces * width, last - first, width, pieces);
    }));
  });
  tape.def("maxout_tangent", [](Tape& self, int64_t per_row, Address change, Address z, Address y, Address to,
                                int64_t width, int64_t pieces) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      kernels().maxout_tangent(floats(change) + first * pieces * width, floats(z) + first * pieces * width,
                               floats(y) + first * width, floats(to) + first * width, last - first, width, pieces);
    }));
  });
}

void bind_losses(TapeClass& tape) {
  tape.def("loss", [](Tape& self, int loss, const Addresses& logits, const Sizes& sizes, const Numbers& labels,
                      const Numbers& weights, const Addresses& grads, Address total, Address details) {
    self.add(loss_call(static_cast<Loss>(loss), loss_tensors(logits, sizes, labels, weights, grads), floats(total),
                       floats(details)));
  });
  // to [size] = a - b / divisor; b has `size` elements or one
  tape.def("subtract", [](Tape& self, int64_t size, Address a, Address b, bool is_scalar, float divisor, Address to) {
    self.add([=](int64_t, int64_t) {
      for (int64_t i = 0; i < size; ++i) floats(to)[i] = floats(a)[i] - floats(b)[is_scalar ? 0 : i] / divisor;
    });
  });
  tape.def("norm", [](Tape& self, Address x, int64_t size, int order, Address to) {
    self.add([=](int64_t, int64_t) {
      vector_norm({pointer(x), size, DType::f32}, order, {pointer(to), DType::f32}, 1);
    });
  });
}

void bind_updates(TapeClass& tape) {
  tape.def("add", [](Tape& self, int64_t per_row, Address source, Address to) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) floats(to)[i] += floats(source)[i];
    }));
  });
  tape.def("clip_factor", [](Tape& self, Address grads, int64_t size, double max_norm, Address to) {
    self.add([=](int64_t, int64_t) {
      double norm = 0;
      vector_norm({pointer(grads), size, DType::f32}, 2, {&norm, DType::f64}, 1);
      *floats(to) = static_cast<float>(clip_factor(norm, max_norm));
    });
  });
  tape.def("scale_by", [](Tape& self, int64_t per_row, Address x, Address factor) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      scale_range(floats(x), floats(x), first, last, *floats(factor));
    }));
  });
  tape.def("count", [](Tape& self, Address count) { self.add([=](int64_t, int64_t) { *floats(count) += 1; }); });
  tape.def("adam", [](Tape& self, int64_t per_row, Address values, Address grads, Address exp_avg, Address exp_avg_sq,
                      Address average, Address count, Address learning_rate, Address average_weight, double beta1,
                      double beta2, double eps, double weight_decay) {
    const AdamCall call{floats(values), floats(grads), floats(exp_avg), floats(exp_avg_sq), floats(average),
                        floats(count), floats(learning_rate), floats(average_weight), beta1, beta2, eps,
                        DType::f32, nullptr, weight_decay};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) { adam_range(call, first, last); }));
  });
  tape.def("sgd", [](Tape& self, int64_t per_row, Address values, Address grads, Address velocity, Address average,
                     Address learning_rate, Address momentum, Address average_weight) {
    const SgdCall call{floats(values), floats(grads), floats(velocity), floats(average),
                       floats(learning_rate), floats(momentum), floats(average_weight)};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) { sgd_range(call, first, last); }));
  });
  tape.def("record", [](Tape& self, const Addresses& scalars, Address table, Address row, Address schedule,
                        int settings_count, Address settings, Address clock) {
    std::vector<const float*> each;
    for (size_t i = 0; i < scalars.size(); ++i) each.push_back(floats(scalars[i]));
    const RecordCall call{nullptr, static_cast<int>(each.size()), floats(table), static_cast<int64_t*>(pointer(row)),
                          floats(schedule), settings_count, floats(settings), static_cast<int64_t*>(pointer(clock))};
    self.add(record_call(call, each));
  });
}

}  // namespace

void bind_tape(py::module_& module) {
  TapeClass tape(module, "Tape");
  tape.def(py::init<>());
  tape.def("stage", &Tape::stage);
  tape.def("unit", &Tape::unit);

  bind_products(tape);
  bind_samples(tape);
  bind_activations(tape);
  bind_losses(tape);
  bind_updates(tape);
  bind_tables(tape);

  module.def("rows_of_entropy", &rows_of_entropy);
  module.def("replay", [](const std::vector<std::shared_ptr<Tape>>& tapes, const std::vector<int>& order, size_t least,
                          int threads, double seconds, const py::function& is_stopping) {
    Watch watch(seconds, is_stopping);
    int64_t done = 0;
    {
      const py::gil_scoped_release release;
      done = replay(Tapes(tapes.begin(), tapes.end()), order, least, threads, [&] { return watch.must_stop(); });
    }
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return done;
  });
}

}  // namespace fastgan
