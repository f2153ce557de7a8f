"""Operators of L1 distances of pairs of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.ops.arguments import (
    check_finite,
    check_like,
    check_same_shape,
    check_tensor,
)
from fastgan.ops.registered.registration import check_result_dtype, check_scalar, contiguous_like, register


def _check_pair(x: Tensor, y: Tensor, index: str = "") -> None:
    check_tensor(x, f"x{index}")
    check_same_shape(y, f"y{index}", x, f"x{index}")


def _check_pairs(x: list[Tensor], y: list[Tensor], weights: list[float]) -> None:
    if not 0 < len(x) == len(y) == len(weights):
        raise ValueError(
            f"got {len(x)} and {len(y)} tensors with {len(weights)} weights, expected as many of each, and "
            "at least one"
        )
    for i, (a, b, weight) in enumerate(zip(x, y, weights, strict=True)):
        check_like(a, f"x[{i}]", x[0], "x[0]")
        _check_pair(a, b, f"[{i}]")
        check_finite(weight, f"weights[{i}]")


def _check_l1_loss(
    x: list[Tensor], y: list[Tensor], weights: list[float], _: bool, dtype: torch.dtype
) -> None:
    _check_pairs(x, y, weights)
    check_result_dtype(dtype)


def _check_l1_loss_backward(
    grad: Tensor, x: list[Tensor], y: list[Tensor], weights: list[float], *_: Any
) -> None:
    _check_pairs(x, y, weights)
    check_scalar(grad, x[0])


def _l1_loss_backward(
    grad: Tensor, x: list[Tensor], y: list[Tensor], weights: list[float], mean: bool, *needs: bool
) -> list[Tensor]:
    dx, dy = choose(x[0]).l1_loss_backward(
        grad, tuple(x), tuple(y), tuple(weights), mean, (needs[0], needs[1])
    )
    return [t.contiguous() for t in dx + dy]


def _check_l1_terms_backward(grad: Tensor, x: Tensor, y: Tensor, *_: bool) -> None:
    _check_pair(x, y)
    check_same_shape(grad, "grad", x, "x")


def _l1_terms_backward(grad: Tensor, x: Tensor, y: Tensor, *needs: bool) -> tuple[Tensor, ...]:
    grads = choose(x).l1_terms_backward(grad, x, y, (needs[0], needs[1]))
    return tuple(x.new_empty(0) if each is None else each.contiguous() for each in grads)


register(
    "l1_loss(Tensor[] x, Tensor[] y, float[] weights, bool mean, ScalarType dtype) -> Tensor",
    _check_l1_loss,
    lambda x, y, weights, *call: choose(x[0]).l1_loss(tuple(x), tuple(y), tuple(weights), *call),
    lambda x, _, __, ___, dtype: x[0].new_empty((), dtype=dtype),
)
register(
    "l1_loss_backward(Tensor grad, Tensor[] x, Tensor[] y, float[] weights, bool mean, bool with_x, "
    "bool with_y) -> Tensor[]",
    _check_l1_loss_backward,
    _l1_loss_backward,
    lambda _, x, __, ___, ____, *needs: [contiguous_like(t) for t in x * sum(needs)],
)
register(
    "l1_terms(Tensor x, Tensor y) -> Tensor",
    _check_pair,
    lambda x, y: choose(x).l1_terms(x, y).contiguous(),
    lambda x, _: contiguous_like(x),
)
register(
    "l1_terms_backward(Tensor grad, Tensor x, Tensor y, bool with_x, bool with_y) -> (Tensor, Tensor)",
    _check_l1_terms_backward,
    _l1_terms_backward,
    lambda _, x, __, *needs: tuple(x.new_empty(x.shape if n else 0) for n in needs),
)
