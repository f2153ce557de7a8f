// The calls of a step on tables: conditions, rows, batch norm, spans and dropout. fastgan/_cpu.pyi describes the
// arguments.
#include "tape_table_bindings.h"

#include <algorithm>
#include <cstring>

#include "../bindings.h"
#include "batch_norm.h"
#include "samples.h"
#include "spans.h"
#include "table_batch.h"
#include "tape_calls.h"

namespace py = pybind11;

namespace fastgan {
namespace {

const int64_t* integers(Address address) { return reinterpret_cast<const int64_t*>(address); }
const int32_t* codes_at(Address address) { return reinterpret_cast<const int32_t*>(address); }

// For loops over rows of matrices whose rows lie apart.
template <class Row>
Tape::Call by_rows(int64_t per_row, const Row& row) {
  return ranged(per_row, [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) row(i);
  });
}

void bind_rows(TapeClass& tape) {
  tape.def("draw_conditions", [](Tape& self, int64_t per_row, Address uniform, Address cumulative, int64_t conditions,
                                 Address drawn) {
    const auto* shares = static_cast<const double*>(pointer(cumulative));
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      int64_t* to = static_cast<int64_t*>(pointer(drawn)) + first;
      draw_conditions(floats(uniform) + first, last - first, shares, conditions, to, 1);
    }));
  });
  tape.def("table_rows", [](Tape& self, int64_t per_row, int64_t width, int64_t rows, Address spans, int64_t count,
                            Address targets, int64_t num_conditions, Address codes, int64_t num_codes, Address values,
                            int64_t num_values, Address order, int64_t order_size, Address starts, Address conditions,
                            Address uniform, Address into, int64_t stride) {
    const TableCall call{DType::f32, 0, width, rows, {codes_at(spans), count, codes_at(targets), num_conditions},
                         codes_at(codes), floats(values), num_codes, num_values, codes_at(order), order_size,
                         integers(starts), integers(conditions), floats(uniform), {pointer(into), stride}, 1};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) { table_rows(call, first, last); }));
  });
  tape.def("one_hot", [](Tape& self, int64_t per_row, Address conditions, int64_t count, Address to, int64_t stride) {
    self.add(by_rows(per_row, [=](int64_t i) {
      std::fill_n(floats(to) + i * stride, count, 0.0f);
      floats(to)[i * stride + integers(conditions)[i]] = 1;
    }));
  });
  tape.def("copy_columns", [](Tape& self, int64_t per_row, int64_t width, Address source, int64_t source_row,
                              Address to, int64_t to_row) {
    self.add(by_rows(per_row, [=](int64_t i) {
      std::copy_n(floats(source) + i * source_row, width, floats(to) + i * to_row);
    }));
  });
  tape.def("add_columns", [](Tape& self, int64_t per_row, int64_t width, Address source, int64_t source_row, Address to,
                             int64_t to_row) {
    self.add(by_rows(per_row, [=](int64_t row) {
      const float* from = floats(source) + row * source_row;
      float* sums = floats(to) + row * to_row;
      for (int64_t i = 0; i < width; ++i) sums[i] += from[i];
    }));
  });
}

PerChannel numbers(Address at) { return {pointer(at), DType::f32}; }

BatchNormCall batch_norm_call(int64_t rows, int64_t channels, double eps, Address mean, Address var, Address weight,
                              Address bias) {
  return {{DType::f32, rows, channels, 1, 1}, numbers(mean), numbers(var), numbers(weight), numbers(bias), eps, 0};
}

void bind_layers(TapeClass& tape) {
  tape.def("batch_norm", [](Tape& self, int64_t rows, int64_t channels, double eps, double momentum, Address x,
                            Address mean, Address var, Address weight, Address bias, Address running_mean,
                            Address running_var, Address y, int64_t y_row) {
    const BatchNormCall call = batch_norm_call(rows, channels, eps, mean, var, weight, bias);
    self.add([=](int64_t first, int64_t last) {
      batch_norm_columns(call, floats(x), {pointer(y), y_row}, numbers(running_mean), numbers(running_var), momentum,
                         first, last);
    });
  });
  tape.def("normalize", [](Tape& self, int64_t channels, double eps, Address x, Address mean, Address var,
                           Address weight, Address bias, Address y, int64_t y_row) {
    self.add([=](int64_t first, int64_t last) {
      const BatchNormCall call = batch_norm_call(last - first, channels, eps, mean, var, weight, bias);
      batch_norm_leaky_relu(call, floats(x) + first * channels, {floats(y) + first * y_row, y_row});
    });
  });
  tape.def("batch_norm_backward", [](Tape& self, int64_t rows, int64_t channels, double eps, Address x, Address mean,
                                     Address var, Address weight, Address bias, Address dy, int64_t dy_row, Address dx,
                                     Address dweight, Address dbias) {
    const BatchNormCall call = batch_norm_call(rows, channels, eps, mean, var, weight, bias);
    self.add([=](int64_t first, int64_t last) {
      batch_norm_backward_columns(call, {pointer(dy), dy_row}, floats(x), floats(dx), numbers(dweight), numbers(dbias),
                                  first, last);
    });
  });
  tape.def("dropout", [](Tape& self, int64_t per_row, Address y, Address derivative, int64_t begin, uint64_t seed,
                         Address step, double share, double factor, double negative_slope) {
    const Drawn drawn{2, pointer(derivative), begin, 1, seed, integers(step)};
    const Tape::Call draw = draw_call(drawn, 1);
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      constexpr int64_t kBlock = 2048;  // in L1 between both loops
      for (int64_t at = first; at < last; at += kBlock) {
        const int64_t end = std::min(at + kBlock, last);
        draw(at, end);
        dropout_range(floats(y), floats(derivative), at, end, static_cast<float>(share), static_cast<float>(factor),
                      static_cast<float>(negative_slope));
      }
    }));
  });
  tape.def("multiply", [](Tape& self, int64_t per_row, Address x, Address factors) {
    self.add(ranged(per_row, [=](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) floats(x)[i] *= floats(factors)[i];
    }));
  });
}

void bind_spans(TapeClass& tape) {
  tape.def("span_activations", [](Tape& self, int64_t rows, int64_t width, Address spans, int64_t count,
                                  Address targets, int64_t num_conditions, double temperature, Address input,
                                  Address noise, Address conditions, Address output, int64_t stride,
                                  Address entropies) {
    const SpanCall call{DType::f32, rows, width, {codes_at(spans), count, codes_at(targets), num_conditions},
                        temperature, pointer(input), floats(noise), integers(conditions), {pointer(output), stride}, 1};
    self.add([=](int64_t first, int64_t last) {
      span_activations_rows(call, first, last, static_cast<double*>(pointer(entropies)), 1);
    });
  });
  tape.def("encode", [](Tape& self, int64_t block, Address spans, int64_t count, Address rows, int64_t stride,
                        Address place, int64_t places, Address codes, int64_t num_codes, Address values,
                        int64_t num_values) {
    const SpanTables tables{codes_at(spans), count, nullptr, 0};
    self.add([=](int64_t first, int64_t last) {
      const int64_t before = *integers(place) % places * block;
      for (int64_t i = first; i < last; ++i)
        encode_row(tables, floats(rows) + i * stride, static_cast<int32_t*>(pointer(codes)) + (before + i) * num_codes,
                   floats(values) + (before + i) * num_values);
    });
  });
  tape.def("mean_entropy", [](Tape& self, int64_t rows, int64_t width, Address entropies, Address to) {
    SpanCall call{};
    call.rows = rows;
    call.width = width;
    self.add([=](int64_t, int64_t) {
      *floats(to) = static_cast<float>(mean_entropy(call, static_cast<const double*>(pointer(entropies))));
    });
  });
  tape.def("span_gradients", [](Tape& self, int64_t per_row, int64_t rows, int64_t width, Address spans, int64_t count,
                                Address targets, int64_t num_conditions, double temperature, Address input,
                                Address conditions, Address output, int64_t stride, Address grad, int64_t grad_row,
                                Address to) {
    const SpanCall call{DType::f32, rows, width, {codes_at(spans), count, codes_at(targets), num_conditions},
                        temperature, pointer(input), nullptr, integers(conditions), {pointer(output), stride}, 1};
    const SpanGrad of_rows{{pointer(grad), grad_row}, {nullptr, DType::f32}, pointer(to)};
    self.add(ranged(per_row, [=](int64_t first, int64_t last) { span_gradients_rows(call, of_rows, first, last, 1); }));
  });
}

}  // namespace

void bind_tables(TapeClass& tape) {
  bind_rows(tape);
  bind_layers(tape);
  bind_spans(tape);
  tape.def("count_integer", [](Tape& self, Address count, int64_t more) {
    self.add([=](int64_t, int64_t) { *static_cast<int64_t*>(pointer(count)) += more; });
  });
  tape.def("copy_bytes", [](Tape& self, int64_t bytes, Address source, Address to) {
    self.add([=](int64_t, int64_t) { std::memcpy(pointer(to), pointer(source), static_cast<size_t>(bytes)); });
  });
}

}  // namespace fastgan
