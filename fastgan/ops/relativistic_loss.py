"""Relativistic losses: is a real sample more real than a generated one?"""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.kernels.logit_losses import LossSpec
from fastgan.ops.arguments import No, Reduced, Terms, Yes, check_reduced
from fastgan.ops.discriminator_loss import discriminator_loss, discriminator_loss_value_and_grad
from fastgan.ops.generator_loss import generator_loss, generator_loss_value_and_grad
from fastgan.ops.logit_loss import Logits, Tensors, dtype_of_loss, sides_of
from fastgan.ops.routing import Function, apply, backend_for, route


@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = ...,
    detach_means: bool = ...,
    reduction: Reduced = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: No = ...,
    detach_means: bool = ...,
    reduction: str = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: Yes,
    detach_means: bool = ...,
    reduction: Terms,
    return_stats: No = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = ...,
    detach_means: bool = ...,
    reduction: Reduced = ...,
    return_stats: Yes,
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: No = ...,
    detach_means: bool = ...,
    reduction: str = ...,
    return_stats: Yes,
) -> tuple[Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: Yes,
    detach_means: bool = ...,
    reduction: Terms,
    return_stats: Yes,
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def relativistic_loss(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = ...,
    detach_means: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor, ...]: ...
@overload
def relativistic_loss(
    logits: Logits,
    other_logits: Logits,
    *,
    average: bool = ...,
    detach_means: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor | Tensors, ...]: ...
def relativistic_loss(
    logits: Logits,
    other_logits: Logits,
    *,
    average: bool = False,
    detach_means: bool = False,
    reduction: str = "mean",
    over: str = "sum",
    return_stats: bool = False,
    return_terms: bool = False,
) -> Tensor | tuple[Tensor | Tensors, ...]:
    r"""The loss of the player that tries to raise ``logits`` above ``other_logits``.

    D minimizes ``relativistic_loss(D(x), D(G(z)))``, and G ``relativistic_loss(D(G(z)), D(x))``. For pairs of
    logits a and b, with s the softplus (Jolicoeur-Martineau 2018, equations 6 and 7 with a logistic loss;
    arXiv:1807.00734):

    .. math:: L = \frac1N \sum_i s(b_i - a_i)

    With ``average`` each logit is compared with the mean of the other side (RaSGAN in that paper), in two
    passes:

    .. math:: L = \frac1N \sum_i s(\bar b - a_i) + \frac1M \sum_j s(b_j - \bar a)

    The gradient includes the means: if :math:`u_i, v_j` are the derivatives of L with respect to the
    differences of :math:`a_i, b_j`, it is :math:`u_i - \frac1N \sum_j v_j` and
    :math:`v_j - \frac1M \sum_i u_i`. The means and these sums come from fastgan's kernels, so they are
    bitwise equal for any number of threads. Adding a constant to all logits changes nothing. Differences of
    half-precision logits are computed in float32.

    Args:
        logits: any shape and strides, float64, float32, float16 or bfloat16; or a sequence of such tensors,
            one per discriminator.
        other_logits: the same, with the same dtype and device; without ``average`` also with the same shape.
        average: compare with the mean of the other side instead of in pairs.
        detach_means: with ``average``, take the means for constants: no gradient flows through them (as in
            the D of Wang et al. 2018, ESRGAN, arXiv:1809.00219, in the authors' code).
        reduction: "mean" or "sum" over each tensor separately, or "none".
        over: "sum" or "mean" over the discriminators.
        return_terms: also return the loss of each discriminator, one tensor ``[discriminators]`` without a
            graph.
        return_stats: also return a float32 tensor: the mean of :math:`\sigma(a - b)`, or with ``average`` the
            means of :math:`\sigma(a - \bar b)` and :math:`\sigma(b - \bar a)`; then the share of saturated
            differences. For a sequence there is one mean per discriminator, as for
            :func:`fastgan.discriminator_loss`.

    Returns:
        A scalar of the logits' dtype (float32 under autocast). For "none" the terms, with ``average`` a pair
        of term tensors; each is a tuple for a sequence. Then the results of ``return_terms`` and
        ``return_stats``, in this order.

    Raises:
        TypeError: an argument is not a float tensor, or the dtypes differ.
        ValueError: devices, numbers of tensors or (without ``average``) shapes differ, a sequence is empty,
            ``detach_means`` is set without ``average``, or ``reduction`` or ``over`` is invalid.

    >>> relativistic_loss(torch.zeros(4, 1), torch.zeros(4, 1))
    tensor(0.6931)
    """
    ours, theirs = _checked(logits, other_logits, average, detach_means)
    dtype = dtype_of_loss(ours[0])
    settings = {
        "reduction": reduction,
        "over": over,
        "return_stats": return_stats,
        "return_terms": return_terms,
    }
    is_sequence = not isinstance(logits, Tensor)
    pairs = [(_wide(a), _wide(b)) for a, b in zip(ours, theirs, strict=True)]
    if average:
        first = [_centred(a, b.detach() if detach_means else b) for a, b in pairs]
        second = [_centred(b, a.detach() if detach_means else a) for a, b in pairs]
        sides = (first, second) if is_sequence else (first[0], second[0])
        result = discriminator_loss(*sides, **settings)  # type: ignore[call-overload]
    else:
        differences = [a - b for a, b in pairs]
        result = generator_loss(differences if is_sequence else differences[0], **settings)  # type: ignore[call-overload]
    rounded: Tensor | tuple[Tensor | Tensors, ...] = _rounded(
        result, dtype, len(result) - return_stats if isinstance(result, tuple) else 1
    )
    return rounded


def _rounded(result: Any, dtype: torch.dtype, count: int) -> Any:
    """Convert the losses or terms, the first ``count`` items of a result, to the dtype of the logits."""
    if isinstance(result, Tensor):
        return result.to(dtype)
    rounded = [
        each.to(dtype) if isinstance(each, Tensor) else tuple([t.to(dtype) for t in each])
        for each in result[:count]
    ]
    return (*rounded, *result[count:])


def relativistic_loss_value_and_grad(
    logits: Tensor,
    other_logits: Tensor,
    *,
    average: bool = False,
    detach_means: bool = False,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss and gradients without autograd, for a training step.

    Args:
        logits, other_logits, average, detach_means: as for :func:`relativistic_loss`.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device, a factor of the gradients but not of the loss.

    Returns:
        ``(loss, grad_logits, grad_other_logits, stats)``. Gradients have the shape and dtype of their logits.
    """
    (ours,), (theirs,) = _checked((logits,), (other_logits,), average, detach_means)
    check_reduced(reduction)
    with torch.no_grad():
        ours, theirs = _wide(ours), _wide(theirs)
        if average:
            total, first, second, stats = discriminator_loss_value_and_grad(
                _centred(ours, theirs), _centred(theirs, ours), reduction=reduction, scale=scale
            )
            grad, grad_others = first, second
            if not detach_means:
                backend, _ = route(first)
                grad = first - _total(backend, second) / first.numel()
                grad_others = second - _total(backend, first) / second.numel()
        else:
            total, grad, stats = generator_loss_value_and_grad(
                ours - theirs, reduction=reduction, scale=scale
            )
            grad_others = -grad
    dtype = dtype_of_loss(logits)
    return total.to(dtype), grad.to(logits.dtype), grad_others.to(logits.dtype), stats


def _checked(
    logits: Logits, other_logits: Logits, average: bool, detach_means: bool
) -> tuple[Tensors, Tensors]:
    """Check both sides and return them as tuples."""
    if detach_means and not average:
        raise ValueError("detach_means must be False without average, as there are no means, but is True")
    ours, theirs = sides_of(logits, "logits", other_logits, "other_logits")
    for a, b in zip(ours, theirs, strict=True):
        if not average and a.shape != b.shape:
            raise ValueError(
                f"without average, other_logits must have the shape of logits, {tuple(a.shape)}, "
                f"but has {tuple(b.shape)}"
            )
    return ours, theirs


def _wide(logits: Tensor) -> Tensor:
    """Convert to at least float32: half types lose the difference of two large, close logits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _centred(logits: Tensor, others: Tensor) -> Tensor:
    """``logits - others.mean()``."""
    backend, is_wired = route(logits, others)
    if is_wired:
        return apply(_Centred, backend, logits, others)  # type: ignore[no-any-return]
    return logits - _total(backend, others, mean=True)


def _total(backend: Reference, tensor: Tensor, *, mean: bool = False) -> Tensor:
    """Sum a tensor in our kernels' fixed order. The Wasserstein term of label 0 is the logit itself."""
    return backend.loss((tensor,), LossSpec("wasserstein", (0.0,), (1.0,), mean), tensor.dtype)[0]


class _Centred(Function):
    """``logits - others.mean()``. Autograd would do, but not sum the gradients in a fixed order."""

    @staticmethod
    def forward(ctx: Any, backend: Reference, logits: Tensor, others: Tensor) -> Tensor:
        ctx.backend, ctx.shape = backend, others.shape
        return logits - _total(backend, others, mean=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[2]:
            return None, grad, None
        total = _total(backend_for(ctx.backend, grad), grad)
        return None, grad, (-total / ctx.shape.numel()).expand(ctx.shape)
