"""Bias, activation, gain and bound in plain PyTorch: a part of the reference backend."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.native import in_compute_dtype

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "swish": F.silu,
}


class BiasActReference:
    """Methods of a backend for an activation after a convolution or a matrix product.

    ``saved`` is the output of the forward pass, or its input if ``act.saves_input``; only then is ``bias``
    read. The slope is 0 where the bound is reached.
    """

    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        """Return ``clamp(act.gain * f(input + bias))``, with the bias along ``dim`` (not negative)."""
        y = _scaled(act, _function(act, _shifted(input, bias, dim)))
        if math.isinf(act.clamp):
            return y.to(input.dtype)
        # as in the backward pass, the rounded output tells whether the bound is reached
        is_inside = y.detach().to(input.dtype).abs() < act.clamp
        return torch.where(is_inside, y, y.detach().clamp(-act.clamp, act.clamp)).to(input.dtype)

    def bias_act_backward(
        self,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return ``grad`` times the slope, and its sum over the other dimensions or None."""
        y, t = _output(act, _shifted(saved, bias if act.saves_input else None, dim))
        masked = _bounded(act, in_compute_dtype(grad) * (act.gain * _slope(act, t)), y)
        return masked.to(grad.dtype), _summed(masked, grad.dtype, dim, into) if with_bias else None

    def bias_act_curvature(
        self,
        cotangent: Tensor,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradient of ``saved`` in the backward pass, given a cotangent of its result.

        This is ``cotangent * grad`` times the derivative of the slope with respect to ``saved``, 0 for
        piecewise linear functions. Its sum, as above, is the gradient of a bias that is read.
        """
        y, t = _output(act, _shifted(saved, bias if act.saves_input else None, dim))
        product = in_compute_dtype(cotangent) * in_compute_dtype(grad)
        curved = _bounded(act, product * _curvature(act, t), y)
        return curved.to(grad.dtype), _summed(curved, grad.dtype, dim, None) if with_bias else None


def _shifted(input: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    z = in_compute_dtype(input)
    if bias is None:
        return z
    return z + in_compute_dtype(bias).view([-1 if i == dim else 1 for i in range(input.dim())])


def _function(act: Act, z: Tensor) -> Tensor:
    if act.form == "leaky":
        return F.leaky_relu(z, act.alpha)
    if act.form == "elu":
        return torch.where(z > 0, z, act.alpha * torch.expm1(z.clamp(max=0)))
    if act.form == "softplus":  # F.softplus is the identity above 20
        return z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))
    return _PLAIN[act.form](z)


def _scaled(act: Act, y: Tensor) -> Tensor:
    return y if act.gain == 1 else act.gain * y


def _output(act: Act, saved: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and what the slope is computed from: f, or z if the input is saved."""
    if act.saves_input:
        return _scaled(act, _function(act, saved)), saved
    return saved, saved / act.gain if act.gain else torch.zeros_like(saved)


def _bounded(act: Act, slope: Tensor, y: Tensor) -> Tensor:
    return slope if math.isinf(act.clamp) else torch.where(y.abs() >= act.clamp, 0.0, slope)


def _slope(act: Act, t: Tensor) -> Tensor:
    if act.form == "leaky":
        return torch.where(t > 0, 1.0, torch.full_like(t, act.alpha))
    if act.form == "relu":
        return torch.where(t <= 0, 0.0, torch.ones_like(t))
    if act.form == "tanh":
        return 1 - t * t
    if act.form == "sigmoid":
        return t * (1 - t)
    if act.form == "elu":
        return torch.where(t > 0, 1.0, t + act.alpha)
    if act.form == "softplus":
        return -torch.expm1(-t)
    s = torch.sigmoid(t)
    return s * (1 + t * torch.sigmoid(-t))


def _curvature(act: Act, t: Tensor) -> Tensor:
    """The derivative of the slope with respect to what is saved: the gains of output and slope cancel."""
    if act.is_piecewise_linear:
        return torch.zeros_like(t)
    if act.form == "tanh":
        return -2 * t
    if act.form == "sigmoid":
        return 1 - 2 * t
    if act.form == "elu":
        return torch.where(t > 0, 0.0, 1.0).to(t.dtype)
    if act.form == "softplus":
        return torch.exp(-t)
    s, r = torch.sigmoid(t), torch.sigmoid(-t)
    return act.gain * s * r * (2 + t * (r - s))


def _summed(masked: Tensor, dtype: torch.dtype, dim: int, into: Tensor | None) -> Tensor:
    others = [i for i in range(masked.dim()) if i != dim]
    # sum(()) would mean all dimensions
    summed = (masked.sum(others) if others else masked.clone()).to(dtype)
    return summed if into is None else into.copy_(summed)
