"""The generator's losses."""

from __future__ import annotations

from functools import lru_cache
from typing import overload

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.ops.arguments import No, Yes, check_loss, check_reduced, check_reduction
from fastgan.ops.logit_loss import (
    Logits,
    Tensors,
    loss_and_grad,
    loss_stats,
    loss_terms,
    reduced_loss,
    sides_of,
    weight_of,
)
from fastgan.ops.loss_tables import with_table_of_losses


@overload
def generator_loss(
    fake_logits: Tensor,
    *,
    loss: str = ...,
    saturating: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: No = ...,
    return_terms: No = ...,
) -> Tensor: ...
@overload
def generator_loss(
    fake_logits: Tensor,
    *,
    loss: str = ...,
    saturating: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: Yes,
    return_terms: No = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def generator_loss(
    fake_logits: Tensor,
    *,
    loss: str = ...,
    saturating: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool,
    return_terms: No = ...,
) -> Tensor | tuple[Tensor, Tensor]: ...
@overload
def generator_loss(
    fake_logits: Logits,
    *,
    loss: str = ...,
    saturating: bool = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor | Tensors, ...]: ...
@with_table_of_losses
def generator_loss(
    fake_logits: Logits,
    *,
    loss: str = "bce",
    saturating: bool = False,
    reduction: str = "mean",
    over: str = "sum",
    return_stats: bool = False,
    return_terms: bool = False,
) -> Tensor | tuple[Tensor | Tensors, ...]:
    r"""The generator's loss of the logits f = D(G(z)).

    The non-saturating loss is :math:`-\log \sigma(f) = \mathrm{softplus}(-f)` with gradient
    :math:`\sigma(f) - 1`. The saturating loss, the generator's part of the minimax value, is
    :math:`\log(1 - \sigma(f)) = -\mathrm{softplus}(f)` with gradient :math:`-\sigma(f)`. If the
    discriminator wins, f → -∞, the second gradient vanishes and the first tends to -1. Both are accurate down
    to f = -10⁴ in every dtype, without a clamp. (Goodfellow et al. 2014, section 3; arXiv:1406.2661.)

    Each loss of :func:`fastgan.discriminator_loss` has its generator loss under the same name:

    {losses of G}

    Args:
        fake_logits: D(G(z)) before the sigmoid, any shape and strides, float64, float32, float16 or bfloat16;
            or a sequence of such tensors, one per discriminator.
        loss: a name in the table.
        saturating: use the minimax loss instead of the non-saturating one; only for "bce".
        reduction: "mean" or "sum" over each tensor separately, or "none".
        over: "sum" or "mean" over the discriminators.
        return_terms: also return the loss for each discriminator, one tensor ``[discriminators]`` without a
            graph.
        return_stats: also return a float32 tensor [mean D(G(z)), share of saturated logits]. For a sequence:
            the mean for each discriminator, then the share over all. D(G(z)) is the sigmoid of the logit for
            "bce" and the logit for the others, whose share is zero except for "hinge-margin".

    Returns:
        A scalar of the logits' dtype (float32 under autocast). For "none" the terms, in a tuple for a
        sequence. Then the results of ``return_terms`` and ``return_stats``, in this order.

    Raises:
        TypeError: ``fake_logits`` is not a float tensor, or the dtypes differ.
        ValueError: ``loss``, ``reduction`` or ``over`` is invalid, ``loss`` has no saturating form, devices
            differ, or a sequence is empty.

    >>> generator_loss(torch.zeros(4, 1))
    tensor(0.6931)
    """
    fake, _ = sides_of(fake_logits, "fake_logits")
    count = len(fake)
    spec = (_spec if is_dynamo_compiling() else _cached_spec)(loss, saturating, reduction, over, count)
    if reduction != "none":
        return reduced_loss(fake, spec, return_stats, return_terms, count, over)
    if return_terms:
        raise ValueError("return_terms must be False for reduction='none', which returns terms, but is True")
    each = tuple([loss_terms(t, spec.loss, spec.labels[0], spec.weights[0]) for t in fake])
    terms = each[0] if isinstance(fake_logits, Tensor) else each
    return (terms, loss_stats(fake, spec)) if return_stats else terms


def generator_loss_value_and_grad(
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    saturating: bool = False,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradient in one pass over the logits, without autograd, for a training step.

    Args:
        fake_logits, loss, saturating: as for :func:`generator_loss`, one tensor.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device, a factor of the gradient but not of the loss.

    Returns:
        ``(loss, grad_fake, stats)``. The gradient has the shape and dtype of the logits.
    """
    fake, _ = sides_of(fake_logits, "fake_logits")
    check_reduced(reduction)
    total, (grad,), stats = loss_and_grad(fake, _spec(loss, saturating, reduction, "sum", 1), scale)
    return total, grad, stats


def _spec(loss: str, saturating: bool, reduction: str, over: str, discriminators: int) -> LossSpec:
    """Check the arguments, and return the spec of the loss for a number of discriminators."""
    check_loss(loss)
    check_reduction(reduction)
    if saturating and not LOSSES[loss].saturating:
        raise ValueError(f"saturating must be False for the {loss} loss, but is True")
    name, label, sign = (loss, 0.0, -1.0) if saturating else (LOSSES[loss].generator, 1.0, 1.0)
    weights = (sign * weight_of(over, discriminators),) * discriminators
    return LossSpec.of(name, (label,) * discriminators, weights, reduction == "mean")


_cached_spec = lru_cache(_spec)  # not for Dynamo, which warns when it traces lru_cache
