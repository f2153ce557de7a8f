"""The gradient wiring that the losses on logits share.

Each of them is a sum of terms under constant labels, as :class:`fastgan.kernels.Backend` defines a loss, so
value, gradient and second derivative are written once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Backend, Labels, Logits, choose, reference
from fastgan.kernels.counters import SOME_CAPTURE, capture_of
from fastgan.ops.arguments import HALVES, check_reduced, check_scale
from fastgan.ops.routing import Function, Route, apply, autocast_dtype, route, serving


def reduced_loss(
    path: Route,
    logits: Logits,
    labels: Labels,
    sign: float,
    mean: bool,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None]:
    """Loss and statistics (None unless asked for)."""
    loss_dtype = dtype_of_loss(logits[0])
    if path is Route.REGISTERED:
        loss, stats = torch.ops.fastgan.logit_loss(logits, labels, sign, mean, loss_dtype, with_stats, kind)
        return loss, stats.detach() if with_stats else None
    backend = choose(logits[0])
    if torch.is_grad_enabled() and (logits[0].requires_grad or logits[-1].requires_grad):
        result = apply(LogitLoss, backend, labels, sign, mean, loss_dtype, with_stats, kind, *logits)
        return result if with_stats else (result, None)
    return backend.loss(logits, labels, sign, mean, loss_dtype, with_stats, kind)


def loss_terms(path: Route, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    """The terms of one tensor, unreduced."""
    logits = logits.to(dtype_of_loss(logits))
    if path is Route.REGISTERED:
        terms: Tensor = torch.ops.fastgan.logit_loss_terms(logits, label, sign, kind)
        return terms
    backend = choose(logits)
    if torch.is_grad_enabled() and logits.requires_grad:
        terms = apply(LogitLossTerms, backend, logits, label, sign, kind)
        return terms
    return backend.loss_terms(logits, label, sign, kind)


def loss_and_grad(
    logits: Logits,
    labels: Labels,
    sign: float,
    reduction: str,
    scale: Tensor | None,
    kind: str = "bce",
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """Loss, ``scale`` times its gradients, and statistics, outside autograd."""
    check_reduced(reduction)
    check_scale(scale, logits[0])
    path = route(*logits, scale)
    scale = None if scale is None else scale.reshape(())
    backend = choose(logits[0]) if path is Route.DIRECT else reference
    with torch.no_grad():
        return backend.loss_and_grad(
            logits, labels, sign, reduction == "mean", scale, dtype_of_loss(logits[0]), kind
        )


def dtype_of_loss(logits: Tensor) -> torch.dtype:
    """Under autocast a loss is float32, as BCE-with-logits is."""
    dtype = logits.dtype
    if dtype in HALVES and autocast_dtype(logits) is not None:
        return torch.float32
    return dtype


class LogitLoss(Function):
    """(logits ...) -> loss, or (loss, stats): an output that is not there still costs a microsecond."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: Backend,
        labels: Labels,
        sign: float,
        mean: bool,
        loss_dtype: torch.dtype,
        with_stats: bool,
        kind: str,
        *logits: Tensor,
    ) -> Tensor | tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # zeros for the statistics would cost an allocation
        ctx.save_for_backward(*logits)
        ctx.call = backend, labels, sign, mean, kind
        call = logits, labels, sign, mean, loss_dtype, with_stats, kind
        loss, stats, ctx.kept = backend.loss_keeping_grads(*call) or (*backend.loss(*call), None)
        ctx.capture = capture_of(logits[0])
        if stats is None:
            return loss
        ctx.mark_non_differentiable(stats)
        return loss, stats

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None = None) -> tuple[Tensor | None, ...]:
        logits = ctx.saved_tensors
        if grad is None:
            return (None,) * (7 + len(logits))
        backend, *call = ctx.call
        now = serving(backend, grad)
        kept, ctx.kept = ctx.kept, None  # given away; a second backward pass has gradients of its own
        # they are right once: a graph of the backward pass alone may be replayed more often than the forward
        if kept is not None and now is backend and ctx.capture == capture_of(grad) != SOME_CAPTURE:
            grads = now.loss_backward_from(kept, grad, logits, *call)
        else:
            grads = now.loss_backward(grad, logits, *call)
        assert grads is not None
        return (None, None, None, None, None, None, None, *grads)


class LogitLossTerms(Function):
    @staticmethod
    def forward(ctx: Any, backend: Backend, logits: Tensor, label: float, sign: float, kind: str) -> Tensor:
        ctx.save_for_backward(logits)
        ctx.call = backend, label, sign, kind
        return backend.loss_terms(logits, label, sign, kind)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (logits,) = ctx.saved_tensors
        backend, *call = ctx.call
        return None, serving(backend, grad).loss_terms_backward(grad, logits, *call), None, None, None
