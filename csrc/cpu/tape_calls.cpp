#include "tape_calls.h"

#include "losses.h"
#include "products.h"

namespace fastgan {

Tape::Call product_call(const Product& product, int64_t per_row) {
  return [=](int64_t first, int64_t last) {
    Product rows = product;
    rows.rows = (last - first) * per_row;
    rows.a += first * per_row * product.a_row;
    rows.c += first * per_row * product.c_row;
    if (rows.output != nullptr) rows.output += first * per_row * product.c_row;
    if (rows.hot != nullptr) rows.hot += first * per_row;
    multiply_here(rows, 0, product.columns);
  };
}

Tape::Call columns_call(const Product& product) {
  return [=](int64_t first, int64_t last) { multiply_here(product, first, last - first); };
}

Tape::Call pack_call(const float* weight, int64_t features, int64_t width, float* forward, float* dgrad) {
  return [=](int64_t first, int64_t last) {
    if (forward != nullptr) {
      const Product product{0, features, width, nullptr, 0, 0, weight, 1, width, nullptr, 0};
      kernels().pack(product, first, last - first, 0, width, forward);
    }
    if (dgrad != nullptr) {
      const Product product{0, width, features, nullptr, 0, 0, weight, width, 1, nullptr, 0};
      kernels().pack(product, 0, width, first, last - first, dgrad);
    }
  };
}

Tape::Call draw_call(const Drawn& drawn, int64_t per_row) {
  return ranged(per_row, [=](int64_t first, int64_t last) {
    const KernelTable& table = kernels();
    const int64_t begin = drawn.begin + first, count = last - first;
    const auto step = static_cast<uint64_t>(*drawn.step);
    switch (drawn.kind) {
      case 0:
        return table.draw_integers(static_cast<int64_t*>(drawn.to) + first, begin, count, drawn.high, drawn.seed, step);
      case 1: return table.draw_normal(static_cast<float*>(drawn.to) + first, begin, count, drawn.seed, step);
      default: return table.draw_uniform(static_cast<float*>(drawn.to) + first, begin, count, drawn.seed, step);
    }
  });
}

Tape::Call loss_call(Loss loss, std::vector<LossTensor> tensors, float* total, float* details) {
  return [=](int64_t, int64_t) {
    const LossCall call{loss, DType::f32, tensors.data(), static_cast<int>(tensors.size()), {nullptr, DType::f32}, 1};
    loss_forward(call, {total, DType::f32}, details);
  };
}

Tape::Call record_call(RecordCall call, std::vector<const float*> scalars) {
  return [=](int64_t, int64_t) {
    RecordCall of_now = call;
    of_now.scalars = scalars.data();
    record(of_now);
  };
}

}  // namespace fastgan
