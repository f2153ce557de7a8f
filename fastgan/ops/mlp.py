"""A chain of linear layers with leaky ReLU after all but the last one: a whole discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.activations import Activation, Forward
from fastgan.kernels.acts import leaky
from fastgan.ops.arguments import check_linear, check_negative_slope, check_tensor
from fastgan.ops.linear_leaky_relu import autocast_like_linear, cotangent_of_dz
from fastgan.ops.routing import Function, apply, asked_for, backend_for, outside_autocast, route, wants_graph


def mlp(
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    negative_slope: float = 0.2,
) -> Tensor:
    """Linear layers with leaky ReLU between them. The last layer is linear and returns logits.

    The chain is one node in the autograd graph. It saves only each layer's output, whose sign masks the
    gradient in the backward pass. Twice differentiable, for gradient penalties.

    Args:
        input: [..., features[0]].
        weights: [features[i + 1], features[i]] for each layer.
        biases: [features[i + 1]] or None for each layer.
        negative_slope: slope at and below zero, not negative.

    Returns:
        [..., features[-1]], of the input's dtype. Autocast casts the arguments like those of ``F.linear``.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes differ outside autocast.
        ValueError: shapes or numbers of layers do not match, devices differ, or the slope is negative.
    """
    check_negative_slope(negative_slope)
    if len(weights) == 0 or len(weights) != len(biases):
        raise ValueError(
            f"mlp needs at least one weight, and one bias (or None) per weight, but got {len(weights)} "
            f"weights and {len(biases)} biases"
        )
    depth = len(weights)
    input, *parameters = autocast_like_linear(input, *weights, *biases)
    weights, biases = parameters[:depth], parameters[depth:]
    check_tensor(input, "input")
    activations = _activations(depth, negative_slope)
    check_chain(input, weights, biases, activations)
    backend, is_wired = route(input, *weights, *biases)
    rows = input if input.dim() == 2 else input.reshape(input.shape[:-1].numel(), input.shape[-1])
    output: Tensor
    if is_wired:
        output = apply(MLP, backend, negative_slope, rows, *weights, *biases)
    else:
        _, output = backend.mlp(rows, weights, biases, activations)
    return output if input.dim() == 2 else output.view(*input.shape[:-1], weights[-1].shape[0])


def check_chain(
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    activations: tuple[Activation, ...],
) -> None:
    """Check that the shapes of successive layers match."""
    features: Sequence[int] = input.shape
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        check_linear(features, input, weight, bias, f" {i}")
        pieces = activations[i].pieces if i < len(activations) else 1
        features = weight.shape[:1] if pieces == 1 else (weight.shape[0] // pieces,)


class MLP(Function):
    """(x, W_1 ... W_L, b_1 ... b_L) -> z_L with h_0 = x, h_i = leaky_relu(h_{i-1} W_iᵀ + b_i)."""

    @staticmethod
    def forward(
        ctx: Any, backend: Reference, negative_slope: float, input: Tensor, *parameters: Tensor
    ) -> Tensor:
        depth = len(parameters) // 2
        weights, biases = parameters[:depth], parameters[depth:]
        seen, output = backend.mlp(input, weights, biases, _activations(depth, negative_slope))
        ctx.save_for_backward(input, *parameters, *seen.hidden)
        ctx.backend, ctx.negative_slope, ctx.depth = backend, negative_slope, depth
        return output

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slope = ctx.negative_slope
        if wants_graph():
            needs = asked_for(ctx)[2:]
            grads = apply(MLPGrad, ctx.backend, slope, needs, ctx.depth, grad, *ctx.saved_tensors)
        else:
            needs = ctx.needs_input_grad[2:]
            seen = _forward(ctx.depth, slope, ctx.saved_tensors)
            grads = backend_for(ctx.backend, grad).mlp_backward(grad, seen, needs)
        return (None, None, *grads)


def _activations(depth: int, negative_slope: float) -> tuple[Activation, ...]:
    return (Activation("leaky_relu", negative_slope),) * (depth - 1)


def _forward(depth: int, negative_slope: float, saved: Sequence[Tensor]) -> Forward:
    """The forward pass from (x, W_1 ... W_L, b_1 ... b_L, h_1 ... h_{L-1})."""
    activations, weights, hidden = (
        _activations(depth, negative_slope),
        saved[1 : depth + 1],
        saved[2 * depth + 1 :],
    )
    return Forward(saved[0], weights, activations, [None] * (depth - 1), hidden)


class MLPGrad(Function):
    """(grad, x, W_1 ... W_L, b_1 ... b_L) -> (dx, dW_i, db_i), differentiable once more.

    The masks are constants, but the activations h_i in dW_i = dz_iᵀ h_{i-1} are not. With cotangents u of
    dx, V_i of dW_i and w_i of db_i, the derivative goes up the chain,

        a_0 = u,  c_i = a_{i-1} W_iᵀ + h_{i-1} V_iᵀ + w_i,  a_i = mask_i * c_i,  d/d grad = c_L,
        d/dW_i = dz_iᵀ a_{i-1},  d/dh_{i-1} = dz_i V_i.

    Then the cotangents of the h_i go down the chain, as in an ordinary backward pass. A penalty on dx only
    (R1) has no V_i and skips the way down.
    """

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        negative_slope: float,
        needs: Sequence[bool],
        depth: int,
        grad: Tensor,
        input: Tensor,
        *saved: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        seen = _forward(depth, negative_slope, (input, *saved))
        dz, grads = backend.mlp_chain(grad, seen, needs)
        ctx.save_for_backward(grad, input, *saved, *dz)
        ctx.backend, ctx.negative_slope, ctx.depth, ctx.needs = backend, negative_slope, depth, needs
        return tuple(grads)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        depth = ctx.depth
        u, v, w = cotangents[0], cotangents[1 : depth + 1], cotangents[depth + 1 :]
        backend = backend_for(ctx.backend, *cotangents)
        grad, *saved = ctx.saved_tensors
        saved, dz = saved[: 3 * depth], saved[3 * depth :]
        seen = _forward(depth, ctx.negative_slope, saved)
        weights = seen.weights
        if wants_graph():  # for a third derivative activations and dz need graphs
            biases = saved[depth + 1 : 2 * depth + 1]
            seen, _ = backend.mlp(seen.input, weights, biases, seen.activations)
            dz, _ = backend.mlp_chain(grad, seen, ctx.needs)
        below, act = [seen.input, *seen.hidden], leaky(ctx.negative_slope)

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
                a, _ = backend.bias_act_backward(a, below[i + 1], None, act, 1, False)

        d_bias: list[Tensor | None] = [None] * depth
        for i in reversed(range(1, depth)):
            dh = d_below[i]
            if dh is None:
                continue
            # index of b_i: after five arguments (settings, grad), x and W_1 ... W_L
            needs_bias = ctx.needs_input_grad[5 + depth + i]
            t, d_bias[i - 1] = backend.bias_act_backward(dh, below[i], None, act, 1, needs_bias)
            d_weight[i - 1] = _sum(d_weight[i - 1], backend.wgrad(t, below[i - 1]))
            d_below[i - 1] = _sum(d_below[i - 1], backend.dgrad(t, weights[i - 1]))
        return (None, None, None, None, a, d_below[0], *d_weight, *d_bias, *[None] * (depth - 1))


def _sum(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else second.add_(first)
