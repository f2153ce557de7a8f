"""Relativistic losses: is a real sample more real than a generated one?"""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from fastgan.kernels import Backend, choose, reference
from fastgan.kernels.logit_losses import softplus
from fastgan.ops.arguments import (
    No,
    Reduced,
    Terms,
    Yes,
    check_like,
    check_reduced,
    check_reduction,
    check_tensor,
)
from fastgan.ops.discriminator_loss import discriminator_loss, discriminator_loss_value_and_grad
from fastgan.ops.generator_loss import generator_loss, generator_loss_value_and_grad
from fastgan.ops.logit_loss import dtype_of_loss
from fastgan.ops.routing import Function, Route, apply, route, serving


@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = ...,
    reduction: Reduced = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def relativistic_loss(
    logits: Tensor, other_logits: Tensor, *, average: No = ..., reduction: str = ..., return_stats: No = ...
) -> Tensor: ...
@overload
def relativistic_loss(
    logits: Tensor, other_logits: Tensor, *, average: Yes, reduction: Terms, return_stats: No = ...
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor, other_logits: Tensor, *, average: bool = ..., reduction: Reduced = ..., return_stats: Yes
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor, other_logits: Tensor, *, average: No = ..., reduction: str = ..., return_stats: Yes
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor, other_logits: Tensor, *, average: Yes, reduction: Terms, return_stats: Yes
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = ...,
    reduction: str = ...,
    return_stats: bool = ...,
) -> Tensor | tuple[Tensor, ...]: ...
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = False,
    reduction: str = "mean",
    return_stats: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    r"""The loss of the player who wants ``logits`` above ``other_logits``.

    D's is ``relativistic_loss(D(x), D(G(z)))``, and G's ``relativistic_loss(D(G(z)), D(x))``. Of a pair with
    logits a and b, where s is softplus (Jolicoeur-Martineau 2018, equations 6 and 7 with a logistic loss;
    arXiv:1807.00734):

    .. math:: L = \frac1N \sum_i s(b_i - a_i)

    With ``average`` each logit meets the mean of the other side's (RaSGAN in that paper), in two passes:

    .. math:: L = \frac1N \sum_i s(\bar b - a_i) + \frac1M \sum_j s(b_j - \bar a)

    The gradient goes through the means too: with :math:`u_i, v_j` the derivatives of L by the differences of
    :math:`a_i, b_j`, it is :math:`u_i - \frac1N \sum_j v_j` and :math:`v_j - \frac1M \sum_i u_i`. Means and
    those sums are our kernels', so they are the same bits for any number of threads. A shift of all logits
    changes nothing, and differences of half-precision logits are taken in float32.

    Args:
        logits: any shape and strides, float64, float32, float16 or bfloat16.
        other_logits: likewise, of the same dtype and device; of the same shape too without ``average``.
        average: against the mean of the others instead of in pairs.
        reduction: "mean", "sum" or "none".
        return_stats: also return a float32 tensor: the mean of :math:`\sigma(a - b)`, with ``average`` of
            :math:`\sigma(a - \bar b)` and :math:`\sigma(b - \bar a)`; then the share of saturated
            differences.

    Returns:
        A scalar of the logits' dtype (float32 under autocast); for "none" the terms, with ``average`` the
        pair of term tensors. With ``return_stats`` the statistics follow.

    Raises:
        TypeError: an argument is not a float tensor, or the dtypes differ.
        ValueError: devices or, without ``average``, shapes differ, or ``reduction`` is none of the above.

    >>> relativistic_loss(torch.zeros(4, 1), torch.zeros(4, 1))
    tensor(0.6931)
    """
    _check(logits, other_logits, average)
    check_reduction(reduction)
    dtype = dtype_of_loss(logits)
    ours, theirs = _wide(logits), _wide(other_logits)
    if average:
        differences = _centred(ours, theirs), _centred(theirs, ours)
        result = discriminator_loss(*differences, reduction=reduction, return_stats=return_stats)
    else:
        result = generator_loss(ours - theirs, reduction=reduction, return_stats=return_stats)
    if not isinstance(result, tuple):
        return result.to(dtype)
    *values, last = result
    return *(value.to(dtype) for value in values), last if return_stats else last.to(dtype)


@overload
def relativistic_loss_reference(
    logits: Tensor, other_logits: Tensor, average: bool = ..., reduction: Reduced = ...
) -> Tensor: ...
@overload
def relativistic_loss_reference(
    logits: Tensor, other_logits: Tensor, average: No = ..., reduction: str = ...
) -> Tensor: ...
@overload
def relativistic_loss_reference(
    logits: Tensor, other_logits: Tensor, average: Yes, reduction: Terms
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss_reference(
    logits: Tensor, other_logits: Tensor, average: bool = ..., reduction: str = ...
) -> Tensor | tuple[Tensor, Tensor]: ...
def relativistic_loss_reference(
    logits: Tensor, other_logits: Tensor, average: bool = False, reduction: str = "mean"
) -> Tensor | tuple[Tensor, Tensor]:
    """What :func:`relativistic_loss` computes, in plain PyTorch."""
    if average:
        first = softplus(other_logits.mean() - logits)
        second = softplus(other_logits - logits.mean())
        if reduction == "none":
            return first, second
        return first.mean() + second.mean() if reduction == "mean" else first.sum() + second.sum()
    terms = softplus(other_logits - logits)
    if reduction == "none":
        return terms
    return terms.mean() if reduction == "mean" else terms.sum()


def relativistic_loss_value_and_grad(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = False,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss and gradients outside autograd: for a training step.

    Args:
        logits, other_logits, average: as for :func:`relativistic_loss`.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device that multiplies the gradients, not the loss.

    Returns:
        ``(loss, grad_logits, grad_other_logits, stats)``; gradients have the shape and dtype of their logits.
    """
    _check(logits, other_logits, average)
    check_reduced(reduction)
    with torch.no_grad():
        ours, theirs = _wide(logits), _wide(other_logits)
        if average:
            value, first, second, stats = discriminator_loss_value_and_grad(
                _centred(ours, theirs), _centred(theirs, ours), reduction=reduction, scale=scale
            )
            backend = choose(first) if route(first) is Route.DIRECT else reference
            grad = first - _total(backend, second) / first.numel()
            grad_others = second - _total(backend, first) / second.numel()
        else:
            value, grad, stats = generator_loss_value_and_grad(
                ours - theirs, reduction=reduction, scale=scale
            )
            grad_others = -grad
    dtype = dtype_of_loss(logits)
    return value.to(dtype), grad.to(logits.dtype), grad_others.to(logits.dtype), stats


def _check(logits: Tensor, other_logits: Tensor, average: bool) -> None:
    check_tensor(logits, "logits")
    check_like(other_logits, "other_logits", logits, "logits")
    if not average and logits.shape != other_logits.shape:
        raise ValueError(
            f"other_logits must have the shape of logits, {tuple(logits.shape)}, to be their pairs, "
            f"but has {tuple(other_logits.shape)}"
        )


def _wide(logits: Tensor) -> Tensor:
    """In float32 at least, as two large logits may be close together."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _centred(logits: Tensor, others: Tensor) -> Tensor:
    """``logits - others.mean()``."""
    if route(logits, others) is not Route.DIRECT:
        return logits - others.mean()
    if torch.is_grad_enabled() and (logits.requires_grad or others.requires_grad):
        return apply(_Centred, choose(logits), logits, others)  # type: ignore[no-any-return]
    return logits - _total(choose(logits), others, mean=True)


def _total(backend: Backend, tensor: Tensor, *, mean: bool = False) -> Tensor:
    """The sum of a tensor in our order: Wasserstein terms of generated samples are the logits themselves."""
    return backend.loss((tensor,), (0.0,), 1.0, mean, tensor.dtype, False, "wasserstein")[0]


class _Centred(Function):
    """PyTorch would do, but for the order in which its sums over gradients add up."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, logits: Tensor, others: Tensor) -> Tensor:
        ctx.backend, ctx.shape = backend, others.shape
        return logits - _total(backend, others, mean=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[2]:
            return None, grad, None
        total = _total(serving(ctx.backend, grad), grad)
        return None, grad, (-total / ctx.shape.numel()).expand(ctx.shape)
