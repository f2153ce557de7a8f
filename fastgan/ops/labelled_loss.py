"""The loss of logits with one label: half of a discriminator's loss, or a generator's loss."""

from __future__ import annotations

from torch import Tensor

from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.ops.arguments import check_finite, check_loss, check_reduction, check_tensor
from fastgan.ops.logit_loss import loss_terms, reduced_loss


def labelled_loss(logits: Tensor, label: float, *, loss: str = "bce", reduction: str = "mean") -> Tensor:
    r"""A loss of logits t with one label y for all; by default binary cross-entropy.

    .. math:: L = \frac1N \sum_i y\,\mathrm{softplus}(-t_i) + (1 - y)\,\mathrm{softplus}(t_i)

    Equals ``F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))`` without a tensor of
    labels. The other losses give the part of :func:`fastgan.discriminator_loss` for real samples with label
    1, and the part for generated samples with label 0.

    Args:
        logits: any shape and strides, float64, float32, float16 or bfloat16.
        label: y, in [0, 1]; any number for "least-squares"; 0 or 1 for "hinge" and "wasserstein".
        loss: "bce", "hinge", "least-squares" or "wasserstein".
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar of the logits' dtype (float32 under autocast), or the terms for "none".

    Raises:
        TypeError: ``logits`` is not a float tensor.
        ValueError: ``label``, ``loss`` or ``reduction`` is invalid.

    >>> labelled_loss(torch.zeros(4, 1), 0.9)
    tensor(0.6931)
    """
    check_tensor(logits, "logits")
    check_loss(loss)
    check_reduction(reduction)
    _check_label(label, loss)
    if reduction == "none":
        return loss_terms(logits, loss, label)
    total = reduced_loss((logits,), LossSpec(loss, (label,), (1.0,), reduction == "mean"))
    assert isinstance(total, Tensor)
    return total


def _check_label(label: float, loss: str) -> None:
    check_finite(label, "label")
    if loss == "bce" and not 0.0 <= label <= 1.0:
        raise ValueError(f"label must lie in [0, 1], but is {label}")
    if not LOSSES[loss].labels and label not in (0.0, 1.0):
        raise ValueError(f"label must be 0 or 1 for the {loss} loss, but is {label}")
