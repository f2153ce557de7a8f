// Spectral norms of several matrices. Threads share small matrices among them and the rows of large ones, one matrix
// after another: what one step has read may still be in the cache for the next. As in losses.cpp, partial sums belong
// to ranges of rows and are added in order.
#include "spectral_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "huge_pages.h"
#include "kernels.h"
#include "parallel.h"
#include "../storage.h"

namespace fastgan {
namespace {

constexpr int64_t kRows = 32;          // of a range: few enough for float sums over rows
constexpr int64_t kLarge = 4 * kChunk;  // elements of a matrix whose rows threads share

double norm_of(const double* values, int64_t size) {
  double squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < size; ++i) squares += values[i] * values[i];
  return std::sqrt(squares);
}

// One matrix in ranges of rows.
template <class Matrix>
struct Ranges {
  const Matrix& matrix;
  DType dtype;
  Where threads;

  int64_t count() const { return (matrix.rows + kRows - 1) / kRows; }
  int64_t rows(int64_t range) const { return std::min(kRows, matrix.rows - range * kRows); }
  int64_t elements(int64_t range) const { return rows(range) * matrix.columns; }
  template <class Address>
  auto of(Address address, int64_t range) const {  // an array [rows, columns]
    return advance(address, range * kRows * matrix.columns, dtype);
  }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for_each_piece(count(), matrix.rows * matrix.columns, threads, visit);
  }
};

// Calls visit(index, threads) for every matrix.
template <class Matrix, class Visit>
void for_each_matrix(const Matrix* matrices, int count, Where threads, const Visit& visit) {
  std::vector<int> small;
  int64_t elements = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t size = matrices[i].rows * matrices[i].columns;
    if (size > kLarge) {
      visit(i, threads);
    } else {
      small.push_back(i);
      elements += size;
    }
  }
  for_each_piece(static_cast<int64_t>(small.size()), elements, threads,
                 [&](int64_t index) { visit(small[index], Where{1}); });
}

class PowerIterations {
 public:
  PowerIterations(const SpectralCall& call, const SpectralWeight& weight, Where threads)
      : weight_(weight), dtype_(static_cast<int>(call.dtype)), eps_(call.eps),
        ranges_{weight, call.dtype, threads}, u_(weight.u), v_(weight.v) {}

  // Returns sigma.
  double run(int iterations, bool columns_first) {
    for (int i = 0; i < iterations; ++i) columns_first ? update_v_and_u() : update_u_and_v();
    if (iterations == 0) measure();
    return sigma_;
  }

  void divide() const {
    advise_huge_pages(weight_.scaled, weight_.rows * weight_.columns * bytes_of(ranges_.dtype));
    ranges_.for_each([&](int64_t range) {
      kernels().divide[dtype_](ranges_.of(weight_.w, range), ranges_.of(weight_.scaled, range),
                               ranges_.elements(range), sigma_);
    });
  }

 private:
  // W v of the rows of a range.
  void multiply_rows(int64_t range, double* products) const {
    for (int64_t row = 0; row < ranges_.rows(range); ++row)
      products[row] = kernels().inner_product[dtype_](
          advance(ranges_.of(weight_.w, range), row * weight_.columns, ranges_.dtype), v_, weight_.columns);
  }

  // Calls factors_of(range, factors [kRows]), which returns a scale; returns the sums over all rows of scale * factor *
  // row. Scales keep the factors near 1, so that float sums neither overflow nor underflow.
  template <class A, class FactorsOf>
  std::vector<double> sum_rows(const FactorsOf& factors_of) const {
    std::vector<A> partials(static_cast<size_t>(ranges_.count() * weight_.columns));
    std::vector<double> scales(static_cast<size_t>(ranges_.count())), sums(static_cast<size_t>(weight_.columns));
    ranges_.for_each([&](int64_t range) {
      double factors[kRows];
      scales[range] = factors_of(range, factors);
      kernels().add_weighted_rows[dtype_](ranges_.of(weight_.w, range), factors, &partials[range * weight_.columns],
                                          ranges_.rows(range), weight_.columns);
    });
    for (int64_t range = 0; range < ranges_.count(); ++range) {
      const A* partial = &partials[range * weight_.columns];
      const double scale = scales[range];
#pragma omp simd
      for (int64_t c = 0; c < weight_.columns; ++c) sums[c] += scale * static_cast<double>(partial[c]);
    }
    return sums;
  }
  template <class FactorsOf>
  std::vector<double> sum_rows(const FactorsOf& factors_of) const {
    return ranges_.dtype == DType::f64 ? sum_rows<double>(factors_of) : sum_rows<float>(factors_of);
  }

  double divisor_of(const std::vector<double>& values) const {
    const double norm = norm_of(values.data(), static_cast<int64_t>(values.size()));
    return norm < eps_ ? eps_ : norm;  // nan stays nan
  }

  // In one pass over W: W^T u is W^T (W v) over the norm of W v, so a range's rows are added up as soon as their
  // products with v are known.
  void update_u_and_v() {
    std::vector<double> products(static_cast<size_t>(weight_.rows));
    std::vector<double> sums = sum_rows([&](int64_t range, double* factors) {
      double* const of_range = &products[range * kRows];
      multiply_rows(range, of_range);
      const double norm = norm_of(of_range, ranges_.rows(range));
      for (int64_t row = 0; row < ranges_.rows(range); ++row) factors[row] = norm == 0 ? 0 : of_range[row] / norm;
      return norm;
    });
    const double divisor = divisor_of(products);
    kernels().divide_vector[dtype_](products.data(), weight_.rows, divisor, weight_.new_u);
    for (double& sum : sums) sum /= divisor;
    sigma_ = kernels().divide_vector[dtype_](sums.data(), weight_.columns, divisor_of(sums), weight_.new_v);
    u_ = weight_.new_u;
    v_ = weight_.new_v;
  }

  void update_v_and_u() {
    const std::vector<double> sums = sum_rows([&](int64_t range, double* factors) {
      for (int64_t row = 0; row < ranges_.rows(range); ++row)
        factors[row] = load_element(advance(u_, range * kRows + row, ranges_.dtype), ranges_.dtype);
      return 1.0;
    });
    kernels().divide_vector[dtype_](sums.data(), weight_.columns, divisor_of(sums), weight_.new_v);
    v_ = weight_.new_v;
    const std::vector<double> products = products_with_v();
    sigma_ = kernels().divide_vector[dtype_](products.data(), weight_.rows, divisor_of(products), weight_.new_u);
    u_ = weight_.new_u;
  }

  std::vector<double> products_with_v() const {
    std::vector<double> products(static_cast<size_t>(weight_.rows));
    ranges_.for_each([&](int64_t range) { multiply_rows(range, &products[range * kRows]); });
    return products;
  }

  // sigma = u^T W v. After an iteration it is known: the inner product of the last vector with what it was before it
  // was normalized.
  void measure() {
    const std::vector<double> products = products_with_v();
    for (int64_t row = 0; row < weight_.rows; ++row)
      sigma_ += products[row] * load_element(advance(u_, row, ranges_.dtype), ranges_.dtype);
  }

  const SpectralWeight& weight_;
  const int dtype_;
  const double eps_;
  const Ranges<SpectralWeight> ranges_;
  const void *u_, *v_;
  double sigma_ = 0;
};

}  // namespace

void spectral_norm(const SpectralCall& call) {
  const DType compute = compute_type(call.dtype);
  for_each_matrix(call.weights, call.count, call.where, [&](int i, Where threads) {
    PowerIterations of_weight(call, call.weights[i], threads);
    store_element(advance(call.sigma, i, compute), compute, of_weight.run(call.iterations, call.columns_first));
    of_weight.divide();
  });
}

void spectral_norm_backward(const SpectralGradCall& call) {
  const int dtype = static_cast<int>(call.dtype);
  const DType compute = compute_type(call.dtype);
  for_each_matrix(call.grads, call.count, call.where, [&](int i, Where threads) {
    const SpectralGrad& each = call.grads[i];
    const Ranges<SpectralGrad> ranges{each, call.dtype, threads};
    advise_huge_pages(each.dw, each.rows * each.columns * bytes_of(call.dtype));
    std::vector<double> partials(static_cast<size_t>(ranges.count()));
    ranges.for_each([&](int64_t range) {
      partials[range] = kernels().inner_product[dtype](ranges.of(each.grad, range), ranges.of(each.w, range),
                                                       ranges.elements(range));
    });
    double inner = 0;
    for (const double partial : partials) inner += partial;
    const double sigma = load_element(advance(call.sigma, i, compute), compute);
    ranges.for_each([&](int64_t range) {
      kernels().spectral_grad_rows[dtype](ranges.of(each.grad, range), advance(each.u, range * kRows, call.dtype),
                                          each.v, ranges.of(each.dw, range), ranges.rows(range), each.columns,
                                          inner / sigma, sigma);
    });
  });
}

}  // namespace fastgan
