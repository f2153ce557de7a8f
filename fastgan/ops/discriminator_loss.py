"""The discriminator's losses."""

from __future__ import annotations

from typing import overload

from torch import Tensor

from fastgan.kernels.logit_losses import LOSSES
from fastgan.kernels.reference import loss_stats
from fastgan.ops.arguments import (
    No,
    Reduced,
    Terms,
    Yes,
    check_like,
    check_loss,
    check_reduction,
    check_tensor,
)
from fastgan.ops.logit_loss import dtype_of_loss, loss_and_grad, loss_terms, reduced_loss
from fastgan.ops.routing import Route, route


@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: Reduced = ...,
    return_stats: No = ...,
) -> Tensor: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: Terms,
    return_stats: No = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: Reduced = ...,
    return_stats: Yes,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: Terms,
    return_stats: Yes,
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    reduction: str = ...,
    return_stats: bool = ...,
) -> Tensor | tuple[Tensor, ...]: ...
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    reduction: str = "mean",
    return_stats: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    r"""The loss of a discriminator; by default binary cross-entropy with logits, :math:`-V(D, G)`.

    .. math:: L_D = \frac1N \sum_i \mathrm{softplus}(-r_i) + \frac1M \sum_j \mathrm{softplus}(f_j)

    with logits r = D(x) of real and f = D(G(z)) of generated samples. The two terms are *summed*, not
    averaged: at D = 1/2 the loss is 2 log 2. (Goodfellow et al. 2014, eq. 1; arXiv:1406.2661.)

    The others have the same form, and D's output is r and f itself:

    | loss | of each r | of each f | |
    |---|---|---|---|
    | "bce" | softplus(-r) | softplus(f) | Goodfellow et al. 2014, eq. 1 |
    | "hinge" | max(0, 1 - r) | max(0, 1 + f) | Lim & Ye 2017; Miyato et al. 2018, eq. 16 |
    | "least-squares" | (r - 1)^2 / 2 | f^2 / 2 | Mao et al. 2017, eq. 9: with the half |
    | "wasserstein" | -r | f | Arjovsky et al. 2017, eq. 2; D must be kept Lipschitz |

    Args:
        real_logits: D(x) before the sigmoid, any shape and strides, float64, float32, float16 or bfloat16.
        fake_logits: D(G(z)) likewise, of the same dtype and device; its shape may differ.
        loss: a name of the table.
        real_label: label t of the real samples, in [0, 1]; below 1 is one-sided label smoothing
            (Salimans et al. 2016, section 3.4): ``t * softplus(-r) + (1 - t) * softplus(r)``. Of
            "least-squares" their target: ``(r - t)^2 / 2``. The other losses have none.
        reduction: "mean" or "sum" over each tensor by itself, or "none".
        return_stats: also return a float32 tensor [mean D(x), mean D(G(z)), share of saturated logits],
            computed in the same pass. D(x) is the sigmoid of the logit for "bce" and the logit itself for
            the others. Saturated are, for "bce", logits of which D is within 0.1 % of 0 or 1, for "hinge"
            those beyond the margin, whose gradient is zero; for the others none.

    Returns:
        A scalar of the logits' dtype (float32 under autocast); for "none" the pair of term tensors.
        With ``return_stats`` the statistics follow: ``(loss, stats)`` or ``(real, fake, stats)``.

    Raises:
        TypeError: an argument is not a float tensor, or the dtypes differ.
        ValueError: devices differ, or ``loss``, ``real_label`` or ``reduction`` is none of the values above.

    >>> discriminator_loss(torch.zeros(4, 1), torch.zeros(4, 1))
    tensor(1.3863)
    """
    _check(real_logits, fake_logits, loss, real_label, reduction)
    path = route(real_logits, fake_logits)
    labels = (real_label, 0.0)
    if path is not Route.REFERENCE and reduction != "none":
        mean = reduction == "mean"
        value, stats = reduced_loss(path, (real_logits, fake_logits), labels, 1.0, mean, return_stats, loss)
        return value if stats is None else (value, stats)
    if path is Route.REFERENCE:
        dtype = dtype_of_loss(real_logits)
        result = discriminator_loss_reference(
            real_logits.to(dtype), fake_logits.to(dtype), real_label, reduction, loss
        )
    else:
        result = (
            loss_terms(path, real_logits, real_label, 1.0, loss),
            loss_terms(path, fake_logits, 0.0, 1.0, loss),
        )
    if not return_stats:
        return result
    stats = loss_stats((real_logits, fake_logits), labels, loss)
    return (*result, stats) if isinstance(result, tuple) else (result, stats)


@overload
def discriminator_loss_reference(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_label: float = ...,
    reduction: Reduced = ...,
    loss: str = ...,
) -> Tensor: ...
@overload
def discriminator_loss_reference(
    real_logits: Tensor, fake_logits: Tensor, real_label: float = ..., *, reduction: Terms, loss: str = ...
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss_reference(
    real_logits: Tensor, fake_logits: Tensor, real_label: float = ..., reduction: str = ..., loss: str = ...
) -> Tensor | tuple[Tensor, Tensor]: ...
def discriminator_loss_reference(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_label: float = 1.0,
    reduction: str = "mean",
    loss: str = "bce",
) -> Tensor | tuple[Tensor, Tensor]:
    """What :func:`discriminator_loss` computes, in plain PyTorch."""
    real, fake = LOSSES[loss].term(real_logits, real_label), LOSSES[loss].term(fake_logits, 0.0)
    if reduction == "none":
        return real, fake
    return real.mean() + fake.mean() if reduction == "mean" else real.sum() + fake.sum()


def discriminator_loss_value_and_grad(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss and gradients in one pass over the logits, outside autograd: for a training step.

    Pass the gradients on with
    ``torch.autograd.backward([real_logits, fake_logits], [grad_real, grad_fake])``.

    Args:
        real_logits, fake_logits, loss, real_label: as for :func:`discriminator_loss`.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device that multiplies the gradients, not the loss: the scale
            of a gradient scaler, or one over the number of accumulated batches.

    Returns:
        ``(loss, grad_real, grad_fake, stats)``; gradients have the shape and dtype of their logits.
    """
    _check(real_logits, fake_logits, loss, real_label, reduction)
    value, (grad_real, grad_fake), stats = loss_and_grad(
        (real_logits, fake_logits), (real_label, 0.0), 1.0, reduction, scale, loss
    )
    return value, grad_real, grad_fake, stats


def _check(real_logits: Tensor, fake_logits: Tensor, loss: str, real_label: float, reduction: str) -> None:
    check_tensor(real_logits, "real_logits")
    check_like(fake_logits, "fake_logits", real_logits, "real_logits")
    check_loss(loss)
    check_reduction(reduction)
    check_real_label(real_label)
    if real_label != 1.0 and not LOSSES[loss].labels:
        raise ValueError(f"real_label must be 1 for the {loss} loss, but is {real_label}")


def check_real_label(real_label: float) -> None:
    if not 0.0 <= real_label <= 1.0:
        raise ValueError(f"real_label must lie in [0, 1], but is {real_label}")
