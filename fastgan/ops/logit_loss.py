"""What the losses on logits share: how the tensors of a call are checked and weighted, and their gradient.

Each of these losses is a list of tensors, each with a label and a weight: a
:class:`~fastgan.kernels.logit_losses.LossSpec`. Value, gradient and second derivative are written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.counters import NO_CAPTURE, SOME_CAPTURE, capture_of
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.arguments import DTYPES, HALVES, PLAIN, check_like, check_scale, check_tensor
from fastgan.ops.routing import Function, apply, autocast_dtype, backend_for, route

Tensors = tuple[Tensor, ...]
Logits = Tensor | Sequence[Tensor]


def sides_of(
    first: Logits, first_name: str, second: Logits = (), second_name: str = ""
) -> tuple[Tensors, Tensors]:
    """The logits of one or both sides, checked: a tensor each, or one for each discriminator."""
    is_pair = bool(second_name)
    ours = tuple(first) if isinstance(first, list | tuple) else (first,)
    theirs = tuple(second) if isinstance(second, list | tuple) else (second,)
    if not ours or (is_pair and not theirs):
        name = second_name if ours else first_name
        raise ValueError(f"{name} is empty, expected a tensor, or one tensor for each discriminator")
    if is_pair and len(ours) != len(theirs):
        raise ValueError(
            f"{first_name} has {len(ours)} tensors and {second_name} {len(theirs)}, expected as many, one "
            "for each discriminator"
        )
    like: Any = ours[0]
    dtype = like.dtype if type(like) in PLAIN else None
    is_usual = dtype in DTYPES
    for t in ours + theirs:
        # without a call for each tensor
        is_usual = (
            is_usual and type(t) in PLAIN and t.dtype is dtype and t.layout is torch.strided and t.is_cpu
        )
    if not is_usual:
        _check_side(ours, first_name, like)
        _check_side(theirs, second_name, like, first_name)
    return ours, theirs


def _check_side(side: Sequence[Any], name: str, like: Any, like_name: str = "") -> None:
    """Raise an error that names the first tensor of a side that cannot be used, if there is one."""
    for i, t in enumerate(side):
        own_name = f"{name}[{i}]" if len(side) > 1 else name
        if t is like:
            check_tensor(t, own_name)
        else:
            check_like(t, own_name, like, like_name or f"{name}[0]")


def weight_of(over: str, discriminators: int) -> float:
    """What each discriminator's loss counts in the total."""
    if over == "sum":
        return 1.0
    if over == "mean":
        return 1 / discriminators
    raise ValueError(f"over must be 'sum' or 'mean', but is {over!r}")


def reduced_loss(
    logits: Tensors, spec: LossSpec, stats: bool = False, terms: bool = False, discriminators: int = 1
) -> Tensor | tuple[Tensor, ...]:
    """The loss; then the loss of each discriminator, and statistics, each if asked for.

    The tensors of the discriminators lie one after another, and those of the second side behind them.
    """
    backend, is_wired = route(*logits)
    detailed, dtype = stats or terms, logits[0].dtype
    if dtype in HALVES:
        dtype = dtype_of_loss(logits[0])
    if is_wired:
        result = apply(LogitLoss, backend, spec, dtype, detailed, *logits)
    else:
        result = backend.loss(logits, spec, dtype, detailed)[:2]
    if not detailed:
        total: Tensor = result if isinstance(result, Tensor) else result[0]
        return total
    total, details = result
    count = len(logits)
    values: tuple[Tensor, ...] = (total,)
    if terms:
        shares = details[:count].view(-1, discriminators).sum(0)
        weight = abs(spec.weights[0])
        values += (shares if weight == 1 else shares / weight,)
    return (*values, details[count:].float()) if stats else values


def loss_terms(logits: Tensor, loss: str, label: float, weight: float = 1.0) -> Tensor:
    """``weight`` times the term of each logit."""
    logits = logits.to(dtype_of_loss(logits))
    backend, is_wired = route(logits)
    if is_wired:
        terms: Tensor = apply(LogitLossTerms, backend, logits, loss, label, weight)
        return terms
    return backend.loss_terms(logits, loss, label, weight)


def loss_stats(logits: Tensors, spec: LossSpec) -> Tensor:
    """The statistics of a loss whose terms are wanted: a pass of their own."""
    with torch.no_grad():
        _, details, _ = route(*logits)[0].loss(logits, spec, dtype_of_loss(logits[0]), True)
    assert details is not None
    return details[len(logits) :].float()


def loss_and_grad(logits: Tensors, spec: LossSpec, scale: Tensor | None) -> tuple[Tensor, Tensors, Tensor]:
    """Loss, ``scale`` times its gradients, and statistics, outside autograd."""
    check_scale(scale, logits[0])
    scale = None if scale is None else scale.reshape(())
    backend, _ = route(*logits, scale)
    with torch.no_grad():
        total, grads, details = backend.loss_and_grad(logits, spec, scale, dtype_of_loss(logits[0]))
        return total, grads, details[len(logits) :].float()


def dtype_of_loss(logits: Tensor) -> torch.dtype:
    """Under autocast a loss is float32, as BCE-with-logits is."""
    dtype = logits.dtype
    if dtype in HALVES and autocast_dtype(logits) is not None:
        return torch.float32
    return dtype


class LogitLoss(Function):
    """(logits ...) -> total, or (total, details): an output that is not there still costs a microsecond."""

    @staticmethod
    def forward(
        ctx: Any, backend: Reference, spec: LossSpec, dtype: torch.dtype, detailed: bool, *logits: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        ctx.save_for_backward(*logits)
        total, details, kept = backend.loss(logits, spec, dtype, detailed, keep_grads=True)
        ctx.call = backend, spec, kept, capture_of(logits[0]) if kept else NO_CAPTURE
        if details is None:
            return total
        ctx.set_materialize_grads(False)  # zeros for the details would cost an allocation
        ctx.mark_non_differentiable(details)
        return total, details

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None = None) -> tuple[Tensor | None, ...]:
        logits = ctx.saved_tensors
        if grad is None:
            return (None,) * (4 + len(logits))
        backend, spec, kept, capture = ctx.call
        now = backend_for(backend, grad)
        if kept:
            ctx.call = backend, spec, (), capture  # given away; a second backward pass has its own
            # they are right once: a graph of the backward pass may be replayed more often than the forward's
            if now is not backend or capture == SOME_CAPTURE or capture != capture_of(grad):
                kept = ()
        return None, None, None, None, *now.loss_backward(grad, logits, spec, kept)


class LogitLossTerms(Function):
    """logits -> the terms."""

    @staticmethod
    def forward(
        ctx: Any, backend: Reference, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        ctx.save_for_backward(logits)
        ctx.call = backend, loss, label, weight
        return backend.loss_terms(logits, loss, label, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (logits,) = ctx.saved_tensors
        backend, *call = ctx.call
        return (
            None,
            backend_for(backend, grad).loss_terms_backward(grad, logits, *call),
            None,
            None,
            None,
        )
