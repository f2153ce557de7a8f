// Shared by losses.cu and loss_terms.cu: the arithmetic for a logit, and the assignment of logits to blocks.
#pragma once

#include "parts.cuh"

namespace fastgan::cuda {

// The loss that a kernel is compiled for. Cross-entropy with labels 0 and 1 only needs one softplus per logit: less
// arithmetic, and no 0 * inf. The other losses take a few instructions per element and share a kernel, which branches
// on the loss at run time, uniformly: a kernel for each would double the compile time.
enum class Kind { bce_of_hard_labels, bce, plain };

template <Kind kKind>
using KindOf = std::integral_constant<Kind, kKind>;

inline bool has_hard_labels(const LossCall& call) {
  for (int i = 0; i < call.count; ++i)
    if (call.tensors[i].label != 0 && call.tensors[i].label != 1) return false;
  return true;
}

// Calls work(kind) with the call's kind as a constant. double, used only to check gradients, has no kernel for hard
// labels.
template <class T, class Work>
void with_kind(const LossCall& call, const Work& work) {
  if (call.loss != Loss::bce) return work(KindOf<Kind::plain>{});
  if constexpr (sizeof(T) != 8)
    if (has_hard_labels(call)) return work(KindOf<Kind::bce_of_hard_labels>{});
  work(KindOf<Kind::bce>{});
}

// The loss at logits stored as T, for one label.
template <class T, Kind kKind>
struct Terms {
  using A = compute_t<T>;
  static constexpr bool kLogarithm = kKind != Kind::plain;
  Loss loss;
  A label;

  __device__ A exponential(A t) const {
    if constexpr (kLogarithm) return exp_minus_abs_of<T>(t);
    return A(0);
  }

  __device__ AtLogit<A> at(A t, A e) const {
    if constexpr (kKind == Kind::plain)
      return with_plain_loss(loss, [&](auto plain) { return decltype(plain)::at(t, e, label); });
    AtLogit<A> here = Bce::at(t, e, label);
    if constexpr (kKind == Kind::bce_of_hard_labels) {
      const A side = A(1) - A(2) * label, u = side * t;  // the term is softplus(u)
      here.term = u > A(0) ? u : A(0);
      here.slope = side * sigmoid(u, e);
    }
    return here;
  }
};

template <class T>
struct LossArgs {
  Parts parts;
  struct Tensor {
    const T* logits;
    const T* incoming;
    T* output;
    compute_t<T> label;
    bool aligned;
  } tensors[kMostTensors];
  Loss loss;
  int64_t span;  // elements per block
  Scale scale;
  bool are_for_one;  // the outputs already hold the gradients for a scale of 1
  Result total;
  compute_t<T>* details;   // [2 count + 1]
  compute_t<T>* partials;  // [3, blocks], or null if one block does everything
  unsigned* counter;
};

// A block's part of one tensor.
template <class T, Kind kKind>
struct Range {
  Terms<T, kKind> terms;
  const T* logits;
  const T* incoming;
  T* output;
  int64_t size;
  double weight;
  bool aligned;
};

template <Kind kKind, class T>
__device__ Range<T, kKind> range_of(const LossArgs<T>& a, int which, int64_t index) {
  const auto& tensor = a.tensors[which];
  const int64_t start = index * a.span, left = a.parts.sizes[which] - start;
  return {{a.loss, tensor.label},
          tensor.logits + start,
          tensor.incoming == nullptr ? nullptr : tensor.incoming + start,
          tensor.output == nullptr ? nullptr : tensor.output + start,
          left < a.span ? left : a.span,
          a.parts.weights[which],
          tensor.aligned};
}

// The factor of a range's terms or gradients.
template <class T, Kind kKind>
__device__ compute_t<T> factor(const LossArgs<T>& a, const Range<T, kKind>& r) {
  return static_cast<compute_t<T>>(r.weight * load_scale(a.scale));
}

template <class T>
LossArgs<T> arguments(const LossCall& call, int64_t span) {
  LossArgs<T> a{};
  a.loss = call.loss;
  a.span = span;
  a.scale = call.scale;
  for (int i = 0; i < call.count; ++i) {
    const LossTensor& from = call.tensors[i];
    a.parts.add(from.size, from.weight, span);
    a.tensors[i] = {static_cast<const T*>(from.logits), static_cast<const T*>(from.incoming),
                    static_cast<T*>(from.output), static_cast<compute_t<T>>(from.label),
                    is_aligned(from.logits) && is_aligned(from.incoming) && is_aligned(from.output)};
  }
  return a;
}

}  // namespace fastgan::cuda
