"""Shapes, memory formats and gradients that several operators return."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.reference_snake import Grads
from fastgan.ops.arguments import (
    check_tensor,
)
from fastgan.ops.registered.registration import contiguous_like


def is_channels_last(tensor: Tensor, dim: int) -> bool:
    """Whether dimension ``dim`` varies fastest in memory."""
    return not tensor.is_contiguous() and tensor.movedim(dim, -1).is_contiguous()


def in_order_of(like: Tensor, dim: int, result: Tensor) -> Tensor:
    """A result with its channels, dimension ``dim``, where those of ``like`` are."""
    if not is_channels_last(like, dim):
        return result.contiguous()
    return result if result.stride() == like.stride() else torch.empty_like(like).copy_(result)


def fake_like(input: Tensor, dim: int) -> Tensor:
    """What :func:`in_order_of` returns, for fake tensors."""
    return torch.empty_like(input) if is_channels_last(input, dim) else contiguous_like(input)


def all_grads(input: Tensor, grads: Grads) -> tuple[Tensor, ...]:
    """Gradients of an input and of two numbers for each channel, for an operator."""
    dx, *others = grads
    dx = None if dx is None else in_order_of(input, 1, dx)
    return tuple(input.new_empty(0) if each is None else each for each in (dx, *others))


def all_grads_fake(
    input: Tensor, numbers: Sequence[Tensor | None], needs: Sequence[bool]
) -> tuple[Tensor, ...]:
    """What :func:`all_grads` returns, for fake tensors."""
    dx, *others = (
        like.new_empty(like.shape) if need and like is not None else input.new_empty(0)
        for like, need in zip((input, *numbers), needs, strict=True)
    )
    return fake_like(input, 1) if needs[0] else dx, *others


def check_dim(tensor: Tensor, dim: int) -> None:
    if not 0 <= dim < tensor.dim():
        raise IndexError(f"dim must be one of the {tensor.dim()} dimensions, from 0 on, but is {dim}")


def check_channels(input: Tensor) -> None:
    check_tensor(input, "input")
    check_dim(input, 1)
