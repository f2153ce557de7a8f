"""Activations with a gain and a bound, as arguments of kernels: the table of ``bias_act``."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch

Form = Literal["leaky", "relu", "tanh", "sigmoid", "elu", "softplus", "swish"]


class Act(NamedTuple):
    """An activation: ``clamp(gain * f(z))``, with z = input + bias.

    Attributes:
        form: the function f, one of ``FORMS``.
        alpha: the slope of "leaky" for z <= 0, not negative; "elu" is ``alpha * (exp(z) - 1)`` there.
        gain: a factor of any sign.
        clamp: the largest magnitude of a result, representable in its dtype; inf if there is no bound.
    """

    form: Form
    alpha: float
    gain: float
    clamp: float

    @property
    def saves_input(self) -> bool:
        """Whether the slope is computed from z. All others are functions of the output."""
        return self.form == "swish"

    @property
    def is_piecewise_linear(self) -> bool:
        return self.form in ("leaky", "relu")

    @property
    def is_plain(self) -> bool:
        """Whether this is a leaky ReLU without a gain or a bound."""
        return self.form == "leaky" and self.gain == 1 and math.isinf(self.clamp)

    @property
    def saves_nothing(self) -> bool:
        """Whether the slope is a constant."""
        return self.form == "leaky" and self.alpha == 1 and math.isinf(self.clamp)


class Row(NamedTuple):
    """A function of the table.

    Attributes:
        form: how kernels compute it.
        alpha: its usual alpha.
        factor: of the form.
        gain: the usual gain, which keeps the variance of a normal input.
    """

    form: Form
    alpha: float
    factor: float
    gain: float


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
ACTS: dict[str, Row] = {
    "linear": Row("leaky", 1.0, 1.0, 1.0),
    "relu": Row("relu", 0.0, 1.0, math.sqrt(2)),
    "lrelu": Row("leaky", 0.2, 1.0, math.sqrt(2)),
    "tanh": Row("tanh", 0.0, 1.0, 1.0),
    "sigmoid": Row("sigmoid", 0.0, 1.0, 1.0),
    "elu": Row("elu", 1.0, 1.0, 1.0),
    "selu": Row("elu", _SELU_ALPHA, _SELU_SCALE, 1.0),
    "softplus": Row("softplus", 0.0, 1.0, 1.0),
    "swish": Row("swish", 0.0, 1.0, math.sqrt(2)),
}
# The codes are those of ActForm in csrc/calls.h, and of FORMS in fastgan/kernels/triton/bias_act.py.
FORMS: dict[Form, int] = {
    "leaky": 0, "relu": 1, "tanh": 2, "sigmoid": 3, "elu": 4, "softplus": 5, "swish": 6,
}  # fmt: skip


def act_of(
    name: str, alpha: float | None, gain: float | None, clamp: float | None, dtype: torch.dtype
) -> Act:
    """Return a function of the table; None stands for the usual alpha and gain, and for no bound."""
    form, usual, factor, usual_gain = ACTS[name]
    bound = math.inf if clamp is None else _rounded(clamp, dtype)
    scale = factor * (usual_gain if gain is None else gain)
    return Act(form, usual if alpha is None or name != "lrelu" else alpha, scale, bound)


def leaky(negative_slope: float) -> Act:
    """Return leaky ReLU without a gain or a bound."""
    return Act("leaky", negative_slope, 1.0, math.inf)


def _rounded(number: float, dtype: torch.dtype) -> float:
    """Round a number that is not negative to a dtype, to nearest even."""
    if not 0 < number < math.inf:
        return number
    limits = torch.finfo(dtype)  # not torch.tensor(number).item(), which breaks graphs of torch.compile
    smallest = limits.smallest_normal * limits.eps
    spacing = max(limits.eps * 2.0 ** (math.frexp(number)[1] - 1), smallest)
    rounded = round(number / spacing) * spacing
    return rounded if rounded <= limits.max else math.inf
