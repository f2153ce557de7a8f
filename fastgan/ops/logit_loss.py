"""Shared code of the losses on logits: checks, weights, value and gradients.

A :class:`~fastgan.kernels.logit_losses.LossSpec` describes each loss: a label and a weight for each tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.counters import NO_CAPTURE, SOME_CAPTURE, capture_of
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.native import PLAIN
from fastgan.ops.arguments import DTYPES, HALVES, check_like, check_scale, check_tensor
from fastgan.ops.routing import Function, apply, autocast_dtype, backend_for, route

Tensors = tuple[Tensor, ...]
Logits = Tensor | Sequence[Tensor]
_SEQUENCES = (list, tuple)  # quicker to ask for than list | tuple


def sides_of(
    first: Logits, first_name: str, second: Logits = (), second_name: str = ""
) -> tuple[Tensors, Tensors]:
    """Check the logits of one or two sides, and return each side as a tuple with one per discriminator."""
    is_pair = bool(second_name)
    ours = tuple(first) if isinstance(first, _SEQUENCES) else (first,)
    theirs = tuple(second) if isinstance(second, _SEQUENCES) else (second,)
    if not ours or (is_pair and not theirs):
        name = second_name if ours else first_name
        raise ValueError(f"{name} is empty, expected a tensor, or one tensor per discriminator")
    if is_pair and len(ours) != len(theirs):
        raise ValueError(
            f"{first_name} has {len(ours)} tensors and {second_name} has {len(theirs)}, expected the same "
            "number, one per discriminator"
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
    """Raise an error that names the first invalid tensor of a side, if any."""
    for i, t in enumerate(side):
        own_name = f"{name}[{i}]" if len(side) > 1 else name
        if t is like:
            check_tensor(t, own_name)
        else:
            check_like(t, own_name, like, like_name or f"{name}[0]")


def weight_of(over: str, count: int, name: str = "over") -> float:
    """The weight of each of ``count`` losses in their sum or mean."""
    if over == "sum":
        return 1.0
    if over == "mean":
        return 1 / count
    raise ValueError(f"{name} must be 'sum' or 'mean', but is {over!r}")


def reduced_loss(
    logits: Tensors,
    spec: LossSpec,
    stats: bool = False,
    terms: bool = False,
    discriminators: int = 1,
    over: str = "sum",
) -> Tensor | tuple[Tensor, ...]:
    """Return the loss; then, on request, the loss of each discriminator and the statistics.

    ``logits`` has the first side's tensors, one per discriminator, then the second side's.
    """
    backend, is_wired = route(*logits)
    detailed, dtype = stats or terms, logits[0].dtype
    if dtype in HALVES:
        dtype = dtype_of_loss(logits[0])
    total: Tensor
    details: Tensor | None
    if is_wired:
        result = apply(LogitLoss, backend, spec, dtype, detailed, *logits)
        total, details = result if detailed else (result, None)
    else:
        total, details, _ = backend.loss(logits, spec, dtype, detailed)
    if details is None:
        return total
    count = len(logits)
    values: tuple[Tensor, ...] = (total,)
    if terms:
        shares = details[:count].view(-1, discriminators).sum(0)
        weight = weight_of(over, discriminators)
        values += (shares if weight == 1 else shares / weight,)
    return (*values, details[count:].float()) if stats else values


def loss_terms(logits: Tensor, loss: str, label: float, weight: float = 1.0) -> Tensor:
    """Return ``weight`` times the term of each logit."""
    logits = logits.to(dtype_of_loss(logits))
    backend, is_wired = route(logits)
    if is_wired:
        terms: Tensor = apply(LogitLossTerms, backend, logits, loss, label, weight)
        return terms
    return backend.loss_terms(logits, loss, label, weight)


def loss_stats(logits: Tensors, spec: LossSpec) -> Tensor:
    """Return only the statistics, in a separate pass: for a loss without reduction."""
    with torch.no_grad():
        _, details, _ = route(*logits)[0].loss(logits, spec, dtype_of_loss(logits[0]), True)
    assert details is not None
    return details[len(logits) :].float()


def loss_and_grad(logits: Tensors, spec: LossSpec, scale: Tensor | None) -> tuple[Tensor, Tensors, Tensor]:
    """Return the loss, its gradients times ``scale``, and statistics, without autograd."""
    check_scale(scale, logits[0])
    scale = None if scale is None else scale.reshape(())
    backend, _ = route(*logits, scale)
    with torch.no_grad():
        total, grads, details = backend.loss_and_grad(logits, spec, scale, dtype_of_loss(logits[0]))
        return total, grads, details[len(logits) :].float()


def dtype_of_loss(logits: Tensor) -> torch.dtype:
    """The dtype of a loss: under autocast float32, like PyTorch's BCE with logits."""
    dtype = logits.dtype
    if dtype in HALVES and autocast_dtype(logits) is not None:
        return torch.float32
    return dtype


class LogitLoss(Function):
    """(logits ...) -> total, or (total, details). A None output would still cost a microsecond."""

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
            ctx.call = backend, spec, (), capture  # handed out; a second backward pass computes its own
            # kept is valid once, but a graph of the backward may be replayed more often than the forward's
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
