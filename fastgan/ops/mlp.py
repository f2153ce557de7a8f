"""A chain of linear + leaky ReLU layers whose last layer is linear: a discriminator, whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels import Backend, choose
from fastgan.ops.arguments import check_negative_slope, check_tensor
from fastgan.ops.linear_leaky_relu import (
    autocast_like_linear,
    check_linear,
    cotangent_of_dz,
    linear_leaky_relu_reference,
)
from fastgan.ops.routing import Function, Route, apply, asked_for, outside_autocast, route, serving


def mlp(
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    negative_slope: float = 0.2,
) -> Tensor:
    """Linear layers with leaky ReLU between them; the last is linear and gives logits.

    One node in the autograd graph for the whole chain. Each layer's output alone is saved, and its sign
    masks the gradient on the way back. Twice differentiable, as gradient penalties need.

    Args:
        input: [..., features[0]].
        weights: one [features[i + 1], features[i]] a layer.
        biases: one [features[i + 1]] or None a layer.
        negative_slope: slope at and below zero, not negative.

    Returns:
        [..., features[-1]], of the input's dtype; under autocast arguments are cast as ``F.linear`` does.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes or numbers of layers do not fit, devices differ, or the slope is negative.
    """
    check_negative_slope(negative_slope)
    if len(weights) == 0 or len(weights) != len(biases):
        raise ValueError(
            f"mlp needs one bias (or None) a weight, and at least one, but got {len(weights)} weights "
            f"and {len(biases)} biases"
        )
    depth = len(weights)
    input, *parameters = autocast_like_linear(input, *weights, *biases)
    weights, biases = parameters[:depth], parameters[depth:]
    check_tensor(input, "input")
    check_chain(input, weights, biases)
    path = route(input, *weights, *biases)
    if path is Route.REFERENCE:
        return mlp_reference(input, weights, biases, negative_slope)
    rows = input if input.dim() == 2 else input.reshape(input.shape[:-1].numel(), input.shape[-1])
    output: Tensor
    if path is Route.REGISTERED:
        output = rows
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            output = torch.ops.fastgan.linear_leaky_relu(output, weight, bias, negative_slope)
        output = F.linear(output, weights[-1], biases[-1])
    else:
        backend = choose(input)
        if torch.is_grad_enabled() and any(
            t is not None and t.requires_grad for t in (input, *weights, *biases)
        ):
            output = apply(MLP, backend, negative_slope, rows, *weights, *biases)
        else:
            output = chain_of_activations(backend, negative_slope, rows, weights, biases)[-1]
    return output if input.dim() == 2 else output.view(*input.shape[:-1], weights[-1].shape[0])


def check_chain(input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> None:
    """Each layer takes what the one before gives."""
    features: Sequence[int] = input.shape
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        check_linear(features, input, weight, bias, f" {i}")
        features = weight.shape[:1]


def mlp_reference(
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    negative_slope: float = 0.2,
) -> Tensor:
    """What :func:`mlp` computes, in plain PyTorch."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        input = linear_leaky_relu_reference(input, weight, bias, negative_slope)
    return F.linear(input, weights[-1], biases[-1])


def chain_of_activations(
    backend: Backend,
    negative_slope: float,
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
) -> list[Tensor]:
    """The output of every layer."""
    whole = backend.mlp(input, weights, biases, negative_slope)
    if whole is not None:
        return whole
    outputs: list[Tensor] = []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        input = backend.linear_leaky_relu(input, weight, bias, negative_slope)
        outputs.append(input)
    outputs.append(backend.linear(input, weights[-1], biases[-1]))
    return outputs


class MLP(Function):
    """(x, W_1 ... W_L, b_1 ... b_L) -> z_L with h_0 = x, h_i = leaky_relu(h_{i-1} W_iᵀ + b_i)."""

    @staticmethod
    def forward(
        ctx: Any, backend: Backend, negative_slope: float, input: Tensor, *parameters: Tensor
    ) -> Tensor:
        depth = len(parameters) // 2
        weights, biases = parameters[:depth], parameters[depth:]
        *hidden, output = chain_of_activations(backend, negative_slope, input, weights, biases)
        ctx.save_for_backward(input, *parameters, *hidden)
        ctx.backend, ctx.negative_slope, ctx.depth = backend, negative_slope, depth
        return output

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slope = ctx.negative_slope
        if torch.is_grad_enabled():
            needs = asked_for(ctx)[2:]
            grads = apply(MLPGrad, ctx.backend, slope, needs, ctx.depth, grad, *ctx.saved_tensors)
        else:
            needs = ctx.needs_input_grad[2:]
            input, *saved = ctx.saved_tensors
            grads = chain_backward(
                serving(ctx.backend, grad), slope, needs, grad, input, *_split(ctx.depth, saved)
            )
        return (None, None, *grads)


def _split(depth: int, saved: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Weights and hidden activations out of (W_1 ... W_L, b_1 ... b_L, h_1 ... h_{L-1})."""
    return saved[:depth], saved[2 * depth : 3 * depth - 1]


def chain_backward(
    backend: Backend,
    negative_slope: float,
    needs: Sequence[bool],
    grad: Tensor,
    input: Tensor,
    weights: Sequence[Tensor],
    hidden: Sequence[Tensor],
    into: Sequence[Tensor | None] | None = None,
) -> list[Tensor | None]:
    """The backward pass: (dx, dW_1 ... dW_L, db_1 ... db_L) where needed, each but dx where ``into`` says."""
    whole = backend.mlp_backward(grad, input, weights, hidden, negative_slope, needs, None, 0, into)
    if whole is not None:
        return whole
    return masked_chain(backend, negative_slope, needs, grad, input, weights, hidden, into)[1]


def masked_chain(
    backend: Backend,
    negative_slope: float,
    needs: Sequence[bool],
    grad: Tensor,
    input: Tensor,
    weights: Sequence[Tensor],
    hidden: Sequence[Tensor],
    into: Sequence[Tensor | None] | None = None,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """dz_1 ... dz_L too, layer by layer.

    Stops at the lowest layer that anything is needed of.
    """
    depth = len(weights)
    needs_weight, needs_bias = needs[1 : depth + 1], needs[depth + 1 :]
    rooms = into or [None] * 2 * depth
    below = [input, *hidden]
    dz: list[Tensor] = [grad] * depth
    dx: Tensor | None = None
    dw: list[Tensor | None] = [None] * depth
    db: list[Tensor | None] = [None] * depth
    if needs_bias[-1]:
        db[-1] = torch.sum(grad, 0, out=rooms[-1])
    for i in reversed(range(depth)):
        if needs_weight[i]:
            dw[i] = backend.wgrad(dz[i], below[i], rooms[i])
        if i == 0:
            dx = backend.dgrad(dz[0], weights[0]) if needs[0] else None
        elif any((needs[0], *needs_weight[:i], *needs_bias[:i])):
            dz[i - 1], db[i - 1] = backend.dgrad_leaky_relu(
                *(dz[i], weights[i], hidden[i - 1], negative_slope, needs_bias[i - 1]),
                rooms[depth + i - 1],
            )
        else:
            break
    return dz, [dx, *dw, *db]


class MLPGrad(Function):
    """(grad, x, W_1 ... W_L, b_1 ... b_L) -> (dx, dW_i, db_i), differentiable once more.

    The masks are constants, but the activations h_i in dW_i = dz_iᵀ h_{i-1} are not. With cotangents u of
    dx, V_i of dW_i and w_i of db_i, the derivative climbs the chain,

        a_0 = u,  c_i = a_{i-1} W_iᵀ + h_{i-1} V_iᵀ + w_i,  a_i = mask_i * c_i,  d/d grad = c_L,
        d/dW_i = dz_iᵀ a_{i-1},  d/dh_{i-1} = dz_i V_i,

    and what reaches the h_i goes down it again as in an ordinary backward pass. A penalty on dx alone (R1)
    has no V_i, so it only climbs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        backend: Backend,
        negative_slope: float,
        needs: Sequence[bool],
        depth: int,
        grad: Tensor,
        input: Tensor,
        *saved: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        dz, grads = masked_chain(backend, negative_slope, needs, grad, input, *_split(depth, saved))
        ctx.save_for_backward(grad, input, *saved, *dz)
        ctx.backend, ctx.negative_slope, ctx.depth, ctx.needs = backend, negative_slope, depth, needs
        return tuple(grads)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        depth = ctx.depth
        u, v, w = cotangents[0], cotangents[1 : depth + 1], cotangents[depth + 1 :]
        backend = serving(ctx.backend, *cotangents)
        grad, input, *saved = ctx.saved_tensors
        saved, dz = saved[: 3 * depth - 1], saved[3 * depth - 1 :]
        weights, hidden = _split(depth, saved)
        if torch.is_grad_enabled():  # a third derivative follows: activations and dz with their graphs
            biases = saved[depth : 2 * depth]
            hidden = chain_of_activations(backend, ctx.negative_slope, input, weights, biases)[:-1]
            dz, _ = masked_chain(backend, ctx.negative_slope, ctx.needs, grad, input, weights, hidden)
        below = [input, *hidden]

        d_weight: list[Tensor | None] = [None] * depth
        d_below: list[Tensor | None] = [None] * depth
        a = u
        for i in range(depth):
            if a is not None:
                d_weight[i] = backend.wgrad(dz[i], a)
            of_weight = v[i]
            if of_weight is not None:
                d_below[i] = backend.dgrad(dz[i], of_weight)
            a = cotangent_of_dz(backend, below[i], weights[i], a, of_weight, w[i], dz[i].shape)
            if a is not None and i + 1 < depth:
                a, _ = backend.bias_leaky_relu_backward(a, below[i + 1], ctx.negative_slope, 1, False)

        d_bias: list[Tensor | None] = [None] * depth
        for i in reversed(range(1, depth)):
            dh = d_below[i]
            if dh is None:
                continue
            # of b_i, behind settings, grad, x and W_1 ... W_L
            needs_bias = ctx.needs_input_grad[5 + depth + i]
            t, d_bias[i - 1] = backend.bias_leaky_relu_backward(
                dh, below[i], ctx.negative_slope, 1, needs_bias
            )
            d_weight[i - 1] = _sum(d_weight[i - 1], backend.wgrad(t, below[i - 1]))
            d_below[i - 1] = _sum(d_below[i - 1], backend.dgrad(t, weights[i - 1]))
        return (None, None, None, None, a, d_below[0], *d_weight, *d_bias, *[None] * (depth - 1))


def _sum(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else second.add_(first)
