"""Operators of losses on logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.logit_losses import NUMBERS, LossSpec
from fastgan.kernels.sizes import check_spec
from fastgan.ops.arguments import (
    check_finite,
    check_like,
    check_same_shape,
    check_tensor,
)
from fastgan.ops.registered.registration import check_result_dtype, check_scalar, contiguous_like, register

_SPEC = "str loss, float[] labels, float[] weights, bool mean"


def _check_logits(
    logits: list[Tensor], loss: str, labels: list[float], weights: list[float], mean: bool, *_: Any
) -> None:
    check_spec(logits, LossSpec(loss, tuple(labels), tuple(weights), mean), "logits")
    check_tensor(logits[0], "logits[0]")
    for i, (t, label, weight) in enumerate(zip(logits, labels, weights, strict=True)):
        check_like(t, f"logits[{i}]", logits[0], "logits[0]")
        check_finite(label, f"labels[{i}]")
        check_finite(weight, f"weights[{i}]")
    _check_kernel(loss)


def _check_kernel(loss: str) -> None:
    """Check that a loss has kernels of its own; the functions in ops compute the others through these."""
    if loss not in NUMBERS:
        raise ValueError(f"loss must be one of {', '.join(map(repr, NUMBERS))}, but is {loss!r}")


def _check_loss(
    logits: list[Tensor],
    loss: str,
    labels: list[float],
    weights: list[float],
    mean: bool,
    dtype: torch.dtype,
    _: bool,
) -> None:
    _check_logits(logits, loss, labels, weights, mean)
    check_result_dtype(dtype)


def _loss(
    logits: list[Tensor],
    loss: str,
    labels: list[float],
    weights: list[float],
    mean: bool,
    dtype: torch.dtype,
    detailed: bool,
) -> tuple[Tensor, Tensor]:
    spec = LossSpec(loss, tuple(labels), tuple(weights), mean)
    total, details, _ = choose(logits[0]).loss(tuple(logits), spec, dtype, detailed)
    return total, _details(logits, detailed) if details is None else details


def _details(logits: list[Tensor], detailed: bool) -> Tensor:
    dtype = torch.float64 if logits[0].dtype is torch.float64 else torch.float32
    return logits[0].new_empty(2 * len(logits) + 1 if detailed else 0, dtype=dtype)


def _check_loss_backward(grad: Tensor, logits: list[Tensor], *spec: Any) -> None:
    _check_logits(logits, *spec)
    check_scalar(grad, logits[0])


def _loss_backward(
    grad: Tensor, logits: list[Tensor], loss: str, labels: list[float], weights: list[float], mean: bool
) -> list[Tensor]:
    spec = LossSpec(loss, tuple(labels), tuple(weights), mean)
    return [each.contiguous() for each in choose(grad).loss_backward(grad, tuple(logits), spec)]


def _check_terms(logits: Tensor, loss: str, label: float, weight: float) -> None:
    check_tensor(logits, "logits")
    _check_kernel(loss)
    check_finite(label, "label")
    check_finite(weight, "weight")


def _check_terms_backward(grad: Tensor, logits: Tensor, *call: Any) -> None:
    _check_terms(logits, *call)
    check_same_shape(grad, "grad", logits, "logits")


register(
    f"logit_loss(Tensor[] logits, {_SPEC}, ScalarType dtype, bool detailed) -> (Tensor, Tensor)",
    _check_loss,
    _loss,
    lambda logits, *call: (logits[0].new_empty((), dtype=call[-2]), _details(logits, call[-1])),
)
register(
    f"logit_loss_backward(Tensor grad, Tensor[] logits, {_SPEC}) -> Tensor[]",
    _check_loss_backward,
    _loss_backward,
    lambda _, logits, *__: [contiguous_like(t) for t in logits],
)
register(
    "logit_loss_terms(Tensor logits, str loss, float label, float weight) -> Tensor",
    _check_terms,
    lambda logits, *call: choose(logits).loss_terms(logits, *call).contiguous(),
    lambda logits, *_: contiguous_like(logits),
)
register(
    "logit_loss_terms_backward(Tensor grad, Tensor logits, str loss, float label, float weight) -> Tensor",
    _check_terms_backward,
    lambda grad, logits, *call: choose(logits).loss_terms_backward(grad, logits, *call).contiguous(),
    lambda _, logits, *__: contiguous_like(logits),
)
