"""The gradient wiring that the losses on logits share.

Every one of them is binary cross-entropy against a constant label (:class:`LogitLoss`), so that value,
gradient and second derivative are written once: here, and in ``csrc/cpu/loss_loops.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Backend, choose, reference
from fastgan.ops.arguments import check_reduction, check_tensor
from fastgan.ops.routing import Route, autocast_dtype, route

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LossSpec:
    """sign * sum_i reduce(label_i * softplus(-t_i) + (1 - label_i) * softplus(t_i)), i = 1 or 1, 2"""

    labels: tuple[float, ...]
    sign: float


class LogitLoss(torch.autograd.Function):
    """(logits ...) -> (loss, stats), or (terms ..., stats) for "none". stats may be None."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Backend,
        spec: LossSpec,
        reduction: str,
        loss_dtype: torch.dtype,
        with_stats: bool,
        *logits: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)  # zeros for the statistics would cost two allocations
        ctx.save_for_backward(*logits)
        ctx.backend, ctx.spec, ctx.reduction = backend, spec, reduction
        values, stats = backend.loss_forward(logits, spec.labels, spec.sign, reduction, loss_dtype, with_stats)
        if stats is not None:
            ctx.mark_non_differentiable(stats)
        return (*values, stats)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return (None,) * (5 + len(logits))
        given = [
            torch.zeros_like(t) if grad is None else grad
            for grad, t in zip(grads[:-1], logits, strict=False)
        ]
        # With create_graph=True the gradient must itself be differentiable: plain PyTorch is.
        backend = reference if torch.is_grad_enabled() else ctx.backend
        spec = ctx.spec
        results = backend.loss_backward(given, logits, spec.labels, spec.sign, ctx.reduction)
        return (None, None, None, None, None, *results)


def check_loss(logits: Sequence[Tensor], names: Sequence[str], reduction: str) -> None:
    check_reduction(reduction)
    for tensor, name in zip(logits, names, strict=True):
        check_tensor(tensor, name)


def logit_loss(
    spec: LossSpec,
    logits: tuple[Tensor, ...],
    reduction: str,
    return_stats: bool,
    by_reference: Callable[[], tuple[Tensor, ...]],
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Loss (one value) or terms (one tensor for each tensor of logits), and statistics if asked for."""
    first = logits[0]
    path = route(*logits)
    loss_dtype = first.dtype
    if loss_dtype in _HALF and autocast_dtype(first) is not None:
        loss_dtype = torch.float32
        if reduction == "none":
            logits = tuple(t.float() for t in logits)
    if path is Route.REFERENCE:
        stats = reference.loss_stats(logits) if return_stats else None
        return by_reference(), stats
    if path is Route.REGISTERED:
        outputs = torch.ops.fastgan.logit_loss(
            logits, spec.labels, spec.sign, reduction, loss_dtype, return_stats
        )
        return (tuple(outputs[:-1]), outputs[-1]) if return_stats else (tuple(outputs), None)
    backend = choose(first)
    if torch.is_grad_enabled() and any(t.requires_grad for t in logits):
        outputs = LogitLoss.apply(backend, spec, reduction, loss_dtype, return_stats, *logits)
        return outputs[:-1], outputs[-1]
    values, stats = backend.loss_forward(logits, spec.labels, spec.sign, reduction, loss_dtype, return_stats)
    return tuple(values), stats


def logit_loss_value_and_grad(
    spec: LossSpec, logits: tuple[Tensor, ...], reduction: str, scale: Tensor | None
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Value, ``scale`` times the gradient, and statistics, in one launch and outside autograd."""
    if reduction == "none":
        raise ValueError("reduction must be 'mean' or 'sum' where value and gradient come together, but is 'none'")
    if scale is not None and scale.numel() != 1:
        raise ValueError(f"scale must be a scalar tensor, but has shape {tuple(scale.shape)}")
    first = logits[0]
    half_under_autocast = first.dtype in _HALF and autocast_dtype(first) is not None
    loss_dtype = torch.float32 if half_under_autocast else first.dtype
    path = route(*logits, scale)
    backend = choose(first) if path is Route.DIRECT else reference
    with torch.no_grad():
        return backend.loss_forward_backward(
            logits, spec.labels, spec.sign, reduction, scale, loss_dtype
        )
