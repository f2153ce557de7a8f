"""The discriminator's losses."""

from __future__ import annotations

from functools import lru_cache
from typing import overload

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.ops.arguments import (
    No,
    Reduced,
    Terms,
    Yes,
    check_label,
    check_loss,
    check_reduced,
    check_reduction,
)
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
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: Reduced = ...,
    over: str = ...,
    return_stats: No = ...,
    return_terms: No = ...,
) -> Tensor: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: Terms,
    over: str = ...,
    return_stats: No = ...,
    return_terms: No = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: Reduced = ...,
    over: str = ...,
    return_stats: Yes,
    return_terms: No = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: Reduced = ...,
    over: str = ...,
    return_stats: No = ...,
    return_terms: Yes,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: Terms,
    over: str = ...,
    return_stats: Yes,
    return_terms: No = ...,
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor, ...]: ...
@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    *,
    loss: str = ...,
    real_label: float = ...,
    fake_label: float = ...,
    reduction: str = ...,
    over: str = ...,
    return_stats: bool = ...,
    return_terms: bool = ...,
) -> Tensor | tuple[Tensor | Tensors, ...]: ...
@with_table_of_losses
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    fake_label: float = 0.0,
    reduction: str = "mean",
    over: str = "sum",
    return_stats: bool = False,
    return_terms: bool = False,
) -> Tensor | tuple[Tensor | Tensors, ...]:
    r"""The loss of one or several discriminators; by default binary cross-entropy, :math:`-V(D, G)`.

    .. math:: L_D = \frac1N \sum_i \mathrm{softplus}(-r_i) + \frac1M \sum_j \mathrm{softplus}(f_j)

    with logits r = D(x) of real samples and f = D(G(z)) of generated samples. The two means are *summed*,
    not averaged: at D = 1/2 the loss is 2 log 2. (Goodfellow et al. 2014, eq. 1; arXiv:1406.2661.)

    The other losses have the same form. For these, D's output is the logit:

    {losses of D}

    For several discriminators, scales or periods (HiFi-GAN has eight), pass a sequence of tensors on each
    side, one per discriminator. One kernel computes them all.

    Args:
        real_logits: D(x) before the sigmoid, any shape and strides, float64, float32, float16 or bfloat16;
            or a sequence of such tensors.
        fake_logits: the same for D(G(z)), with the same dtype and device; shapes may differ.
        loss: "bce" or a name in the table.
        real_label: label t of the real samples. For "bce" in [0, 1], where values below 1 are one-sided label
            smoothing (Salimans et al. 2016, section 3.4): ``t * softplus(-r) + (1 - t) * softplus(r)``. For
            "least-squares" and "mse" any number, the target: ``(r - t)^2``. The other losses need 1.
        fake_label: the same for generated samples; the other losses need 0.
        reduction: "mean" or "sum" over each tensor separately, or "none".
        over: "sum" or "mean" over the discriminators.
        return_terms: also return the loss of each discriminator, one tensor ``[discriminators]`` without a
            graph.
        return_stats: also return a float32 tensor [mean D(x), mean D(G(z)), share of saturated logits],
            computed in the same pass. For sequences: D(x) for each discriminator, then D(G(z)) for each, then
            the share over all. D(x) is the sigmoid of the logit for "bce" and the logit for the others.
            A logit is saturated for "bce" if its sigmoid is within 0.1 % of 0 or 1, and for "hinge" if it is
            beyond the margin, where the gradient is zero; for the others never.

    Returns:
        A scalar of the logits' dtype (float32 under autocast). For "none" a pair of term tensors, or a pair
        of tuples of them. Then the results of ``return_terms`` and ``return_stats``, in this order.

    Raises:
        TypeError: an argument is not a float tensor, or the dtypes differ.
        ValueError: devices or numbers of tensors differ, a sequence is empty, or ``loss``, a label,
            ``reduction`` or ``over`` is invalid.

    >>> discriminator_loss(torch.zeros(4, 1), torch.zeros(4, 1))
    tensor(1.3863)
    """
    real, fake = sides_of(real_logits, "real_logits", fake_logits, "fake_logits")
    count = len(real)
    make_spec = _spec if is_dynamo_compiling() else _cached_spec
    spec = make_spec(loss, (real_label, fake_label), reduction, over, count)
    if reduction != "none":
        return reduced_loss(real + fake, spec, return_stats, return_terms, count, over)
    if return_terms:
        raise ValueError("return_terms must be False for reduction='none', which returns terms, but is True")
    on_real = tuple([loss_terms(t, spec.loss, real_label, spec.weights[0]) for t in real])
    on_fake = tuple([loss_terms(t, spec.loss, fake_label, spec.weights[0]) for t in fake])
    terms = (on_real[0], on_fake[0]) if isinstance(real_logits, Tensor) else (on_real, on_fake)
    return (*terms, loss_stats(real + fake, spec)) if return_stats else terms


def discriminator_loss_value_and_grad(
    real_logits: Tensor,
    fake_logits: Tensor,
    *,
    loss: str = "bce",
    real_label: float = 1.0,
    fake_label: float = 0.0,
    reduction: str = "mean",
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss and gradients in one pass over the logits, without autograd, for a training step.

    Continue with ``torch.autograd.backward([real_logits, fake_logits], [grad_real, grad_fake])``.

    Args:
        real_logits, fake_logits, loss, real_label, fake_label: as for :func:`discriminator_loss`, one tensor
            each.
        reduction: "mean" or "sum".
        scale: a scalar tensor on the same device, a factor of the gradients but not of the loss. For example
            the scale of a gradient scaler, or 1 / the number of accumulated batches.

    Returns:
        ``(loss, grad_real, grad_fake, stats)``. Gradients have the shape and dtype of their logits.
    """
    real, fake = sides_of(real_logits, "real_logits", fake_logits, "fake_logits")
    check_reduced(reduction)
    spec = _spec(loss, (real_label, fake_label), reduction, "sum", 1)
    total, (grad_real, grad_fake), stats = loss_and_grad(real + fake, spec, scale)
    return total, grad_real, grad_fake, stats


def _spec(loss: str, labels: tuple[float, float], reduction: str, over: str, discriminators: int) -> LossSpec:
    """Check the arguments, and return the spec of the loss for a number of discriminators."""
    real_label, fake_label = labels
    check_real_label(real_label, loss)
    check_label(fake_label, loss, "fake_label")
    if fake_label != 0.0 and LOSSES[loss].labels is None:
        raise ValueError(f"fake_label must be 0 for the {loss} loss, but is {fake_label}")
    check_reduction(reduction)
    each = (real_label,) * discriminators + (fake_label,) * discriminators
    weight = weight_of(over, discriminators)
    return LossSpec.of(loss, each, (weight,) * len(each), reduction == "mean")


def check_real_label(real_label: float, loss: str) -> None:
    """Check the name of a loss and that it allows this label of real samples."""
    check_loss(loss)
    if real_label != 1.0 and LOSSES[loss].labels is None:
        raise ValueError(f"real_label must be 1 for the {loss} loss, but is {real_label}")
    check_label(real_label, loss, "real_label")


_cached_spec = lru_cache(_spec)  # not for Dynamo, which warns when it traces lru_cache
