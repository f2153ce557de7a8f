// What the kernels of losses.cu and loss_terms.cu share: the arithmetic at a logit, and which logits a block has.
#pragma once

#include "losses.h"

namespace fastgan::cuda {

// Cross-entropy is compiled for each kind of label: one at either end leaves one softplus out, which is less to
// compute, and no 0 * inf. Any other loss is a few instructions an element and is chosen at run time, by a branch that
// all threads take alike: compiled one by one, they would double the time that nvcc takes.
enum class Kind { label_zero, label_one, label_between, any_loss };

template <Kind kKind>
using KindOf = std::integral_constant<Kind, kKind>;

// work(kind) for the first tensor's, as a constant. Doubles, which only check gradients, have any label's arithmetic.
template <class T, class Work>
void with_kind(const LossCall& call, const Work& work) {
  if (call.loss != Loss::bce)
    return work(KindOf<Kind::any_loss>{});
  if constexpr (sizeof(T) == 8)
    work(KindOf<Kind::label_between>{});
  else if (call.tensors[0].label == 0)
    work(KindOf<Kind::label_zero>{});
  else if (call.tensors[0].label == 1)
    work(KindOf<Kind::label_one>{});
  else
    work(KindOf<Kind::label_between>{});
}

// A loss and a label, and the arithmetic for logits that are stored as T.
template <class T, Kind kKind>
struct Terms {
  using A = compute_t<T>;
  static constexpr bool kLogarithm = kKind != Kind::any_loss;
  Loss loss;
  A label;

  __device__ A exponential(A t) const {
    if constexpr (kLogarithm) return exp_minus_abs_of<T>(t);
    return A(0);
  }

  __device__ AtLogit<A> at(A t, A e) const {
    if constexpr (kKind == Kind::any_loss)
      return with_plain_loss(loss, [&](auto plain) { return decltype(plain)::at(t, e, label); });
    AtLogit<A> here = Bce::at(t, e, label);
    if constexpr (kKind == Kind::label_zero) {
      here.term = t > A(0) ? t : A(0);
      here.slope = sigmoid(t, e);
    } else if constexpr (kKind == Kind::label_one) {
      here.term = t > A(0) ? A(0) : -t;
      here.slope = -sigmoid(-t, e);
    }
    return here;
  }
};

template <class T, Kind kKind>
struct Range {
  Terms<T, kKind> terms;
  const T* logits;
  T* grad;
  int64_t start, stop;
  bool aligned;
};

template <class T>
struct LossArgs {
  Loss of;
  struct Tensor {
    const T* logits;
    const T* incoming;
    T* output;
    int64_t size;
    int64_t blocks;
    double label;
  } tensors[2];
  int count;
  int64_t span;  // elements of a block
  bool aligned;
  double sign;
  bool mean;
  const void* scale;
  DType scale_dtype;
  bool are_for_one;  // gradients are there for a scale of 1
  void* loss;
  DType loss_dtype;
  float* stats;
  compute_t<T>* partials;  // [3, blocks]
  unsigned* counter;
};

// What multiplies the terms or gradients of a tensor.
template <class T>
__device__ compute_t<T> factor(const LossArgs<T>& a, int64_t size) {
  const double scale = a.sign * load_scale(a.scale, a.scale_dtype);
  return static_cast<compute_t<T>>(a.mean ? scale / static_cast<double>(size) : scale);
}

// That of the second tensor, the generated one, whose label is zero.
template <class T, Kind kFirst>
constexpr Kind kSecond = kFirst == Kind::any_loss || sizeof(T) == 8 ? kFirst : Kind::label_zero;

template <Kind kKind, class T>
__device__ Range<T, kKind> range_of(const LossArgs<T>& a, bool is_first, int64_t index) {
  const auto& tensor = a.tensors[is_first ? 0 : 1];
  const int64_t start = index * a.span;
  const int64_t stop = start + a.span < tensor.size ? start + a.span : tensor.size;
  return {{a.of, static_cast<compute_t<T>>(tensor.label)}, tensor.logits, tensor.output, start, stop, a.aligned};
}

template <class T>
LossArgs<T> arguments(const LossCall& call, int64_t least_span, int64_t most_ranges) {
  LossArgs<T> a{};
  a.of = call.loss;
  a.count = call.count;
  a.sign = call.sign;
  a.mean = call.mean;
  a.aligned = true;
  const int64_t largest = call.tensors[0].size > call.tensors[1].size ? call.tensors[0].size : call.tensors[1].size;
  a.span = ceil_div(ceil_div(largest, most_ranges), least_span) * least_span;
  if (a.span == 0) a.span = least_span;
  for (int i = 0; i < 2; ++i) {
    const LossTensor& from = call.tensors[i];
    a.tensors[i] = {static_cast<const T*>(from.logits), static_cast<const T*>(from.incoming),
                    static_cast<T*>(from.output), from.size, ceil_div(from.size, a.span), from.label};
    a.aligned = a.aligned && is_aligned(from.logits) && is_aligned(from.incoming) && is_aligned(from.output);
  }
  return a;
}

}  // namespace fastgan::cuda
