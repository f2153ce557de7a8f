// The losses on logits, one functor each, in the order of LOSSES in fastgan/kernels/logit_losses.py (papers are cited
// there).
//
// A functor takes a logit t and a label (1: D should output "real", 0: "generated") and returns an AtLogit. Everything
// is inlined, so the compiler drops unused fields. If kLogarithm, `term` lacks the summand log1p(e), e = exp(-|t|):
// the loops compute one logarithm for many terms. nan propagates to values; slopes at nan are PyTorch's.
#pragma once

#include "scalar_math.h"

namespace fastgan {

template <class A>
struct AtLogit {
  A term;
  A slope;      // d term / dt
  A output;     // D's output: the sigmoid of t for cross-entropy, t itself for the other losses
  A saturated;  // 1 if the gradient vanishes here, else 0
};

// label softplus(-t) + (1 - label) softplus(t), any label in [0, 1]. Saturated near either end of the sigmoid.
struct Bce {
  static constexpr bool kLogarithm = true;
  template <class A>
  FASTGAN_HD AtLogit<A> at(A t, A e, A label) {
    return {linear_part(t, label), loss_slope(t, e, label), sigmoid(t, e),
            absolute(t) > A(kSaturatedLogit) ? A(1) : A(0)};
  }
};

// max(0, 1 - t) for label 1, max(0, 1 + t) for label 0. Saturated beyond the margin.
struct Hinge {
  static constexpr bool kLogarithm = false;
  template <class A>
  FASTGAN_HD AtLogit<A> at(A t, A, A label) {
    const A side = A(1) - A(2) * label;
    const A left = A(1) + side * t;
    const bool beyond = left <= A(0);
    return {beyond ? A(0) : left, beyond ? A(0) : side, t, beyond ? A(1) : A(0)};
  }
};

// (t - label)^2 / 2, any label. Never saturated.
struct LeastSquares {
  static constexpr bool kLogarithm = false;
  template <class A>
  FASTGAN_HD AtLogit<A> at(A t, A, A label) {
    const A off = t - label;
    return {A(0.5) * off * off, off, t, A(0)};
  }
};

// -t for label 1, t for label 0. Never saturated.
struct Wasserstein {
  static constexpr bool kLogarithm = false;
  template <class A>
  FASTGAN_HD AtLogit<A> at(A t, A, A label) {
    const A side = A(1) - A(2) * label;
    return {side * t, side, t, A(0)};
  }
};

enum class Loss : int { bce, hinge, least_squares, wasserstein, count };

// work(functor) for a loss that has no logarithm.
template <class Work>
FASTGAN_HD auto with_plain_loss(Loss loss, const Work& work) {
  switch (loss) {
    case Loss::hinge: return work(Hinge{});
    case Loss::least_squares: return work(LeastSquares{});
    default: return work(Wasserstein{});
  }
}

// work(functor) for any loss.
template <class Work>
FASTGAN_HD auto with_loss(Loss loss, const Work& work) {
  return loss == Loss::bce ? work(Bce{}) : with_plain_loss(loss, work);
}

}  // namespace fastgan
