"""Linear layer + leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.acts import Act, act_of
from fastgan.ops.arguments import check_gain, check_linear, check_negative_slope, check_tensor
from fastgan.ops.routing import (
    Function,
    apply,
    asked_for,
    autocast_dtype,
    backend_for,
    outside_autocast,
    route,
    wants_graph,
)


def linear_leaky_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
) -> Tensor:
    """``leaky_relu(input @ weight.T + bias)``.

    z = x Wᵀ + b is never stored: backward gets the sign of z from the output. One pass over the incoming
    gradient gives dz and db; then dx = dz W (dgrad) and dW = dzᵀ x (wgrad). Twice differentiable, for
    gradient penalties.

    Args:
        input: [..., in_features], any strides.
        weight: [out_features, in_features].
        bias: [out_features], or None.
        negative_slope: slope at and below zero, not negative.
        gain: factor of the result, of any sign.
        clamp: largest magnitude of the result, as in :func:`fastgan.bias_act`; None: no bound.

    Returns:
        [..., out_features], in the input's dtype. Under autocast arguments are cast as in ``F.linear``.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes do not fit, devices differ, ``negative_slope`` is negative, ``gain`` is not finite,
            or ``clamp`` is negative or nan.
    """
    check_negative_slope(negative_slope)
    check_gain(gain, clamp)
    input, weight, bias = autocast_like_linear(input, weight, bias)
    check_tensor(input, "input")
    check_linear(input.shape, input, weight, bias)
    backend, is_wired = route(input, weight, bias)
    rows = input if input.dim() == 2 else input.reshape(input.shape[:-1].numel(), input.shape[-1])
    act = act_of("lrelu", negative_slope, gain, clamp, input.dtype)
    output: Tensor
    if is_wired:
        output = apply(LinearLeakyReLU, backend, rows, weight, bias, act)
    else:
        output = backend.linear_leaky_relu(rows, weight, bias, act)
    return output if input.dim() == 2 else output.view(*input.shape[:-1], weight.shape[0])


def autocast_like_linear(*tensors: Tensor | None) -> Sequence[Any]:
    """Casts all arguments but float64 ones if autocast is on, as ``F.linear`` does."""
    first = tensors[0]
    dtype = autocast_dtype(first) if isinstance(first, Tensor) else None
    if dtype is None:
        return tensors
    return [
        t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() and t.dtype is not torch.float64 else t
        for t in tensors
    ]


class LinearLeakyReLU(Function):
    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        act: Act,
    ) -> Tensor:
        output = backend.linear_leaky_relu(input, weight, bias, act)
        ctx.save_for_backward(input, weight, output)
        ctx.call = backend, act
        return output

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        backend, act = ctx.call
        differentiable = wants_graph()
        needs = (asked_for(ctx) if differentiable else ctx.needs_input_grad)[1:4]
        arguments = (grad, *ctx.saved_tensors, act, needs)
        if differentiable:
            grads = apply(LinearLeakyReLUGrad, backend, *arguments)
        else:
            grads = backend_for(backend, grad).linear_leaky_relu_backward(*arguments)
        return (None, *grads, None)


class LinearLeakyReLUGrad(Function):
    """(dy, x, W) -> (dx, dW, db), for a constant mask m:

    dz = m * dy, dx = dz W, dW = dzᵀ x, db = sum of the rows of dz. With cotangents u of dx, V of dW, w of db:

    d/d dy = m * (u Wᵀ + x Vᵀ + w), d/dW = dzᵀ u, d/dx = dz V.
    """

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        output: Tensor,
        act: Act,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        dz, db = backend.bias_act_backward(grad, output, None, act, 1, needs[2])
        dx = backend.dgrad(dz, weight) if needs[0] else None
        dw = backend.wgrad(dz, input) if needs[1] else None
        ctx.save_for_backward(grad, dz, input, weight, output)
        ctx.call = backend, act
        return dx, dw, db

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, w: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, dz, input, weight, output = ctx.saved_tensors
        backend, act = ctx.call
        backend = backend_for(backend, u, v, w)
        if wants_graph():  # third derivatives need dz with its graph
            dz, _ = backend.bias_act_backward(grad, output, None, act, 1, False)
        _, needs_grad, needs_input, needs_weight, *_ = ctx.needs_input_grad
        d_grad = None
        if needs_grad:
            d_dz = cotangent_of_dz(backend, input, weight, u, v, w, output.shape)
            if d_dz is not None:
                d_grad, _ = backend.bias_act_backward(d_dz, output, None, act, 1, False)
        d_input = backend.dgrad(dz, v) if needs_input and v is not None else None
        d_weight = backend.wgrad(dz, u) if needs_weight and u is not None else None
        return None, d_grad, d_input, d_weight, None, None, None


def cotangent_of_dz(
    backend: Reference,
    input: Tensor,
    weight: Tensor,
    u: Tensor | None,
    v: Tensor | None,
    w: Tensor | None,
    shape: torch.Size,
) -> Tensor | None:
    """``u Wᵀ + x Vᵀ + w`` without the terms whose u, V or w is None; None if there are none."""
    if u is not None:
        total = backend.linear(u, weight, w)
    elif v is not None:
        return backend.linear(input, v, w)
    else:
        return None if w is None else w.expand(shape)
    return total if v is None else total.add_(backend.linear(input, v, None))
