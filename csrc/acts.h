// Activations with a gain and a bound, clamp(gain * f(z)), for host and device.
//
// The functions that take a form are straight-line code once the form is a constant, as in a loop for each form.
// Derivatives are computed from t: f(z), or z itself for swish, the only form whose derivatives are not functions of
// its value. nan propagates.
#pragma once

#include "calls.h"

namespace fastgan {

// f(z)
template <class A>
FASTGAN_HD A act_value(ActForm form, A z, A alpha) {
  switch (form) {
    case ActForm::leaky: return leaky_relu(z, alpha);
    case ActForm::relu: return z <= A(0) ? A(0) : z;
    case ActForm::tanh: return hyperbolic_tangent(z);
    case ActForm::sigmoid: return exact_sigmoid(z);
    case ActForm::elu: return z > A(0) ? z : alpha * expm1_nonpositive(z > A(0) ? A(0) : z);
    case ActForm::softplus: return (z > A(0) ? z : A(0)) + log1p_nonnegative(exp_minus_abs(z));
    case ActForm::swish: return z * exact_sigmoid(z);
  }
  return z;
}

// f'(z)
template <class A>
FASTGAN_HD A act_slope(ActForm form, A t, A alpha) {
  switch (form) {
    case ActForm::leaky: return t > A(0) ? A(1) : alpha;
    case ActForm::relu: return t <= A(0) ? A(0) : A(1);
    case ActForm::tanh: return (A(1) - t) * (A(1) + t);
    case ActForm::sigmoid: return t * (A(1) - t);
    case ActForm::elu: return t > A(0) ? A(1) : t + alpha;
    case ActForm::softplus: return -expm1_nonpositive(-t);
    case ActForm::swish: {
      const A e = exp_minus_abs(t);
      return sigmoid(t, e) * (A(1) + t * sigmoid(-t, e));
    }
  }
  return t;
}

// The derivative of the slope with respect to t.
template <class A>
FASTGAN_HD A act_curvature(ActForm form, A t) {
  switch (form) {
    case ActForm::leaky:
    case ActForm::relu: return A(0);
    case ActForm::tanh: return A(-2) * t;
    case ActForm::sigmoid: return A(1) - A(2) * t;
    case ActForm::elu: return t > A(0) ? A(0) : A(1);
    case ActForm::softplus: return exp_nonpositive(-t);
    case ActForm::swish: {
      const A e = exp_minus_abs(t), s = sigmoid(t, e), r = sigmoid(-t, e);
      return s * r * (A(2) + t * (r - s));
    }
  }
  return t;
}

FASTGAN_HD bool saves_input(ActForm form) { return form == ActForm::swish; }

// The bound as kernels take it: nan if there is none, as comparisons with nan are false. With inf, an infinite output
// would lose its gradient.
template <class A>
FASTGAN_HD A bound_of(const Act& act) {
  return static_cast<A>(act.clamp < INFINITY ? act.clamp : NAN);
}

template <class A>
FASTGAN_HD A bounded(A y, A bound) {
  return y > bound ? bound : y < -bound ? -bound : y;
}

// A factor of gradients, 0 where the output y has reached the bound; also for gradients that are infinite or nan.
template <class A>
FASTGAN_HD A times_unbounded(A gradient, A factor, A y, A bound) {
  return absolute(y) >= bound ? A(0) : gradient * factor;
}

// Leaky ReLU. Its gradient takes a comparison, two selections and a product.
template <class A>
struct LeakyAct {
  A alpha, gain, bound;
  A sign;    // of the gain
  A scaled;  // gain * alpha

  FASTGAN_HD_MEMBER explicit LeakyAct(const Act& act)
      : alpha(static_cast<A>(act.alpha)),
        gain(static_cast<A>(act.gain)),
        bound(bound_of<A>(act)),
        sign(static_cast<A>(act.gain < 0 ? -1 : 1)),
        scaled(static_cast<A>(act.gain * act.alpha)) {}

  FASTGAN_HD_MEMBER A value(A z) const { return bounded(gain * leaky_relu(z, alpha), bound); }
  FASTGAN_HD_MEMBER A gradient(A gradient, A y) const {
    return times_unbounded(gradient, sign * y > A(0) ? gain : scaled, y, bound);
  }
};

// An activation of a form that is known at compile time. `saved` is the output, or z if saves_input(kForm).
template <ActForm kForm, class A>
struct KnownAct {
  A alpha, gain, inverse, bound;  // inverse: of the gain, or 0

  FASTGAN_HD_MEMBER A value(A z) const { return bounded(gain * act_value(kForm, z, alpha), bound); }
  FASTGAN_HD_MEMBER A gradient(A gradient, A saved) const {
    return times_unbounded(gradient, gain * act_slope(kForm, argument(saved), alpha), output(saved), bound);
  }
  // The gradient of `saved` in gradient(), given a cotangent of its result. If it is the output, the gain of the slope
  // and that of the output cancel.
  FASTGAN_HD_MEMBER A curved(A cotangent, A gradient, A saved) const {
    const A factor = (saves_input(kForm) ? gain : A(1)) * act_curvature(kForm, argument(saved));
    return times_unbounded(cotangent * gradient, factor, output(saved), bound);
  }

  FASTGAN_HD_MEMBER A output(A saved) const {
    return saves_input(kForm) ? gain * act_value(kForm, saved, alpha) : saved;
  }
  // What derivatives are computed from.
  FASTGAN_HD_MEMBER A argument(A saved) const {
    if (saves_input(kForm)) return saved;
    return inverse == A(0) ? A(0) : saved * inverse;  // without a gain the output may be nan
  }
};

// An activation of any form.
template <class A>
struct AnyAct {
  ActForm form;
  A alpha, gain, inverse, bound;

  FASTGAN_HD_MEMBER explicit AnyAct(const Act& act)
      : form(act.form),
        alpha(static_cast<A>(act.alpha)),
        gain(static_cast<A>(act.gain)),
        inverse(static_cast<A>(act.gain == 0 ? 0 : 1 / act.gain)),
        bound(bound_of<A>(act)) {}

  // Calls work with a KnownAct: its code is compiled for each form.
  template <class Work>
  FASTGAN_HD_MEMBER void with_form(const Work& work) const {
    switch (form) {
      case ActForm::relu: return work(KnownAct<ActForm::relu, A>{alpha, gain, inverse, bound});
      case ActForm::tanh: return work(KnownAct<ActForm::tanh, A>{alpha, gain, inverse, bound});
      case ActForm::sigmoid: return work(KnownAct<ActForm::sigmoid, A>{alpha, gain, inverse, bound});
      case ActForm::elu: return work(KnownAct<ActForm::elu, A>{alpha, gain, inverse, bound});
      case ActForm::softplus: return work(KnownAct<ActForm::softplus, A>{alpha, gain, inverse, bound});
      case ActForm::swish: return work(KnownAct<ActForm::swish, A>{alpha, gain, inverse, bound});
      default: return work(KnownAct<ActForm::leaky, A>{alpha, gain, inverse, bound});
    }
  }
};

}  // namespace fastgan
