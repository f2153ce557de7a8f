"""Shared code of the L1 losses: pairs of tensors in one launch, value and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.ops.routing import Function, apply, backend_for, route

Tensors = tuple[Tensor, ...]


def l1_loss(x: Tensors, y: Tensors, weights: Sequence[float], mean: bool, dtype: torch.dtype) -> Tensor:
    """The sum of ``weights[i]`` times the mean, or sum, of ``|x[i] - y[i]|``.

    Args:
        x, y: checked tensors of one dtype and device; ``x[i]`` has the shape of ``y[i]``.
        weights: the factor of each pair.
        mean: whether to take means over the elements of each pair instead of sums.
        dtype: of the result.
    """
    backend, is_wired = route(*x, *y)
    if not is_wired:
        return backend.l1_loss(x, y, weights, mean, dtype)
    loss: Tensor = apply(L1Loss, backend, tuple(weights), mean, dtype, *x, *y)
    return loss


class L1Loss(Function):
    """(x ..., y ...) -> the loss. Saves nothing but its inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Reference,
        weights: tuple[float, ...],
        mean: bool,
        dtype: torch.dtype,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.call = backend, weights, mean
        count = len(weights)
        return backend.l1_loss(tensors[:count], tensors[count:], weights, mean, dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        backend, weights, mean = ctx.call
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[4:]
        count = len(weights)
        x, y = tensors[:count], tensors[count:]
        dx, dy = backend_for(backend, grad).l1_loss_backward(
            grad, x, y, weights, mean, (any(needed[:count]), any(needed[count:]))
        )
        none: tuple[None, ...] = (None,) * count
        return (None, None, None, None, *(dx or none), *(dy or none))
