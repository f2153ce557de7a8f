"""Activations with a gain and a bound, as arguments of kernels: the table of ``bias_act``."""

from __future__ import annotations

import functools
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


@functools.lru_cache
def act_of(
    name: str, alpha: float | None, gain: float | None, clamp: float | None, dtype: torch.dtype
) -> Act:
    """Return a function of the table; None stands for the usual alpha and gain, and for no bound."""
    form, usual, factor, usual_gain = ACTS[name]
    bound = math.inf if clamp is None else torch.tensor(clamp, dtype=dtype).item()
    scale = factor * (usual_gain if gain is None else gain)
    return Act(form, usual if alpha is None or name != "lrelu" else alpha, scale, bound)


@functools.lru_cache
def leaky(negative_slope: float) -> Act:
    """Return leaky ReLU without a gain or a bound."""
    return Act("leaky", negative_slope, 1.0, math.inf)
