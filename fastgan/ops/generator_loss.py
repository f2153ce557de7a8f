"""The generator's losses: non-saturating, and saturating (minimax)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.reference import loss_stats
from fastgan.ops.arguments import check_reduction, check_tensor
from fastgan.ops.logit_loss import dtype_of_loss, loss_and_grad, loss_terms, reduced_loss
from fastgan.ops.routing import Route, route

# BCE label and sign
_NON_SATURATING = 1.0, 1.0
_SATURATING = 0.0, -1.0


def generator_loss(
    fake_logits: Tensor,
    *,
    saturating: bool = False,
    reduction: str = "mean",
    return_stats: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    r"""The generator's loss on f = D(G(z)), in logits.

    Non-saturating, :math:`-\log \sigma(f) = \mathrm{softplus}(-f)`, gradient :math:`\sigma(f) - 1`; or
    saturating, the generator's part of the minimax value, :math:`\log(1 - \sigma(f)) =
    -\mathrm{softplus}(f)`, gradient :math:`-\sigma(f)`. Where the discriminator wins, f → -∞, the second
    gradient vanishes and the first tends to -1: both hold to f = -10⁴ in every dtype, without a clamp.
    (Goodfellow et al. 2014, section 3; arXiv:1406.2661.)

    Args:
        fake_logits: D(G(z)) before the sigmoid, any shape and strides, float64, float32, float16 or bfloat16.
        saturating: the minimax loss instead of the non-saturating one.
        reduction: "mean", "sum" or "none".
        return_stats: also return a float32 tensor [mean D(G(z)), share of saturated logits].

    Returns:
        A scalar of the logits' dtype (float32 under autocast), or the terms for "none"; with
        ``return_stats`` the pair ``(loss, stats)``.

    Raises:
        TypeError: ``fake_logits`` is not a float tensor.
        ValueError: ``reduction`` is not among the values above.

    >>> generator_loss(torch.zeros(4, 1))
    tensor(0.6931)
    """
    check_tensor(fake_logits, "fake_logits")
    check_reduction(reduction)
    label, sign = _SATURATING if saturating else _NON_SATURATING
    path = route(fake_logits)
    if path is not Route.REFERENCE and reduction != "none":
        mean = reduction == "mean"
        loss, stats = reduced_loss(path, (fake_logits,), (label,), sign, mean, return_stats)
        return loss if stats is None else (loss, stats)
    if path is Route.REFERENCE:
        result = generator_loss_reference(fake_logits.to(dtype_of_loss(fake_logits)), saturating, reduction)
    else:
        result = loss_terms(path, fake_logits, label, sign)
    return (result, loss_stats((fake_logits,))) if return_stats else result


def generator_loss_reference(
    fake_logits: Tensor, saturating: bool = False, reduction: str = "mean"
) -> Tensor:
    """What :func:`generator_loss` computes, in plain PyTorch."""
    zero = fake_logits.new_zeros(())
    terms = -torch.logaddexp(fake_logits, zero) if saturating else torch.logaddexp(-fake_logits, zero)
    if reduction == "none":
        return terms
    return terms.mean() if reduction == "mean" else terms.sum()


def generator_loss_value_and_grad(
    fake_logits: Tensor,
    *,
    saturating: bool = False,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradient in one pass over the logits, outside autograd: for a training step.

    Args:
        fake_logits, saturating: as for :func:`generator_loss`.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device that multiplies the gradient, not the loss.

    Returns:
        ``(loss, grad_fake, stats)``; the gradient has the shape and dtype of the logits.
    """
    check_tensor(fake_logits, "fake_logits")
    label, sign = _SATURATING if saturating else _NON_SATURATING
    loss, (grad,), stats = loss_and_grad((fake_logits,), (label,), sign, reduction, scale)
    return loss, grad, stats
