// Spectral norms of several matrices. Each step runs over ranges of rows of all matrices, so that threads share a
// network's layers, whatever their sizes. As in losses.cpp, partial sums belong to ranges and are added in order.
#include "spectral_norm.h"

#include <algorithm>
#include <vector>

#include "huge_pages.h"
#include "kernels.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

constexpr int64_t kRows = 32;  // of a range: few enough for float sums over rows

struct Range {
  int which;           // matrix
  int64_t row, rows;   // first row, number of rows
};

template <class Matrix>
std::vector<Range> ranges_of(const Matrix* matrices, int count) {
  std::vector<Range> ranges;
  for (int i = 0; i < count; ++i)
    for (int64_t row = 0; row < matrices[i].rows; row += kRows)
      ranges.push_back({i, row, std::min(kRows, matrices[i].rows - row)});
  return ranges;
}

class PowerIterations {
 public:
  explicit PowerIterations(const SpectralCall& call)
      : call_(call), dtype_(static_cast<int>(call.dtype)), ranges_(ranges_of(call.weights, call.count)),
        sigma_(static_cast<size_t>(call.count)) {
    for (int i = 0; i < call.count; ++i) {
      u_.push_back(call.weights[i].u);
      v_.push_back(call.weights[i].v);
      first_.push_back(first_.back() + (call.weights[i].rows + kRows - 1) / kRows);
    }
  }

  void run() {
    for (int step = 0; step < 2 * call_.iterations; ++step)
      (step % 2 == 0) == call_.columns_first ? update_v() : update_u();
    if (call_.iterations == 0) measure();
    divide();
  }

 private:
  // Calls visit(range, index) for every range, on several threads.
  template <class Visit>
  void for_each_range(const Visit& visit) const {
    for_each_piece(static_cast<int64_t>(ranges_.size()), call_.elements(), call_.where,
                   [&](int64_t index) { visit(ranges_[index], index); });
  }
  template <class Visit>
  void for_each_weight(const Visit& visit) const {
    for_each_piece(call_.count, call_.elements(), call_.where, [&](int64_t i) { visit(static_cast<int>(i)); });
  }

  // W v of each matrix.
  std::vector<std::vector<double>> products_with_v() const {
    std::vector<std::vector<double>> products;
    for (int i = 0; i < call_.count; ++i) products.emplace_back(static_cast<size_t>(call_.weights[i].rows));
    for_each_range([&](const Range& range, int64_t) {
      const SpectralWeight& weight = call_.weights[range.which];
      for (int64_t row = range.row; row < range.row + range.rows; ++row)
        products[range.which][row] = kernels().inner_product[dtype_](
            advance(weight.w, row * weight.columns, call_.dtype), v_[range.which], weight.columns);
    });
    return products;
  }

  // W^T u over each range of rows.
  template <class A>
  std::vector<std::vector<A>> products_with_u() const {
    std::vector<std::vector<A>> partials(ranges_.size());
    for_each_range([&](const Range& range, int64_t index) {
      const SpectralWeight& weight = call_.weights[range.which];
      partials[index].resize(static_cast<size_t>(weight.columns));
      kernels().add_weighted_rows[dtype_](advance(weight.w, range.row * weight.columns, call_.dtype),
                                          advance(u_[range.which], range.row, call_.dtype), partials[index].data(),
                                          range.rows, weight.columns);
    });
    return partials;
  }

  void update_u() {
    const auto products = products_with_v();
    for_each_weight([&](int i) {
      const SpectralWeight& weight = call_.weights[i];
      sigma_[i] = kernels().normalize[dtype_](products[i].data(), weight.rows, call_.eps, weight.new_u);
      u_[i] = weight.new_u;
    });
  }

  void update_v() { call_.dtype == DType::f64 ? update_v_in<double>() : update_v_in<float>(); }

  template <class A>
  void update_v_in() {
    const auto partials = products_with_u<A>();
    for_each_weight([&](int i) {
      const SpectralWeight& weight = call_.weights[i];
      std::vector<double> sums(static_cast<size_t>(weight.columns));
      for (int64_t range = first_[i]; range < first_[i + 1]; ++range)
        for (int64_t c = 0; c < weight.columns; ++c) sums[c] += static_cast<double>(partials[range][c]);
      sigma_[i] = kernels().normalize[dtype_](sums.data(), weight.columns, call_.eps, weight.new_v);
      v_[i] = weight.new_v;
    });
  }

  // sigma = u^T W v. After an iteration it is known: the product of the last vector with what it was before it was
  // normalized.
  void measure() {
    const auto products = products_with_v();
    for (int i = 0; i < call_.count; ++i) {
      sigma_[i] = 0;
      for (int64_t row = 0; row < call_.weights[i].rows; ++row)
        sigma_[i] += products[i][row] * load_element(advance(u_[i], row, call_.dtype), call_.dtype);
    }
  }

  void divide() const {
    const DType compute = compute_type(call_.dtype);
    for (int i = 0; i < call_.count; ++i) {
      store_element(advance(call_.sigma, i, compute), compute, sigma_[i]);
      advise_huge_pages(call_.weights[i].scaled,
                        call_.weights[i].rows * call_.weights[i].columns * bytes_of(call_.dtype));
    }
    for_each_range([&](const Range& range, int64_t) {
      const SpectralWeight& weight = call_.weights[range.which];
      const int64_t at = range.row * weight.columns;
      kernels().divide[dtype_](advance(weight.w, at, call_.dtype), advance(weight.scaled, at, call_.dtype),
                               range.rows * weight.columns, sigma_[range.which]);
    });
  }

  const SpectralCall& call_;
  const int dtype_;
  const std::vector<Range> ranges_;
  std::vector<int64_t> first_{0};  // index of each matrix's first range
  std::vector<const void*> u_, v_;
  std::vector<double> sigma_;
};

}  // namespace

void spectral_norm(const SpectralCall& call) { PowerIterations(call).run(); }

void spectral_norm_backward(const SpectralGradCall& call) {
  const auto ranges = ranges_of(call.grads, call.count);
  const int dtype = static_cast<int>(call.dtype);
  const DType compute = compute_type(call.dtype);
  std::vector<double> partials(ranges.size()), inner(static_cast<size_t>(call.count));
  const auto for_each_range = [&](const auto& visit) {
    for_each_piece(static_cast<int64_t>(ranges.size()), call.elements(), call.where,
                   [&](int64_t index) { visit(ranges[index], index, call.grads[ranges[index].which]); });
  };
  for_each_range([&](const Range& range, int64_t index, const SpectralGrad& each) {
    const int64_t at = range.row * each.columns;
    partials[index] = kernels().inner_product[dtype](advance(each.grad, at, call.dtype), advance(each.w, at, call.dtype),
                                                     range.rows * each.columns);
  });
  for (size_t index = 0; index < ranges.size(); ++index) inner[ranges[index].which] += partials[index];
  for_each_range([&](const Range& range, int64_t, const SpectralGrad& each) {
    const int64_t at = range.row * each.columns;
    const double sigma = load_element(advance(call.sigma, range.which, compute), compute);
    kernels().spectral_grad_rows[dtype](advance(each.grad, at, call.dtype), advance(each.u, range.row, call.dtype),
                                        each.v, advance(each.dw, at, call.dtype), range.rows, each.columns,
                                        inner[range.which] / sigma, sigma);
  });
}

}  // namespace fastgan
