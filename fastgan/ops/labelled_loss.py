"""Logits under one label: half of a discriminator's loss, or a generator's."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops.arguments import check_reduction, check_tensor
from fastgan.ops.discriminator_loss import discriminator_loss_reference
from fastgan.ops.logit_loss import dtype_of_loss, loss_terms, reduced_loss
from fastgan.ops.routing import Route, route


def labelled_loss(logits: Tensor, label: float, *, reduction: str = "mean") -> Tensor:
    r"""Binary cross-entropy with logits against one label for all.

    .. math:: L = \frac1N \sum_i y\,\mathrm{softplus}(-t_i) + (1 - y)\,\mathrm{softplus}(t_i)

    What ``F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))`` is, without the
    tensor of labels.

    Args:
        logits: any shape and strides, float64, float32, float16 or bfloat16.
        label: y, in [0, 1].
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar of the logits' dtype (float32 under autocast), or the terms for "none".

    Raises:
        TypeError: ``logits`` is not a float tensor.
        ValueError: ``label`` or ``reduction`` is not among the values above.

    >>> labelled_loss(torch.zeros(4, 1), 0.9)
    tensor(0.6931)
    """
    check_tensor(logits, "logits")
    check_reduction(reduction)
    if not 0.0 <= label <= 1.0:
        raise ValueError(f"label must lie in [0, 1], but is {label}")
    path = route(logits)
    if path is Route.REFERENCE:
        return labelled_loss_reference(logits.to(dtype_of_loss(logits)), label, reduction)
    if reduction == "none":
        return loss_terms(path, logits, label, 1.0)
    return reduced_loss(path, (logits,), (label,), 1.0, reduction == "mean", False)[0]


def labelled_loss_reference(logits: Tensor, label: float, reduction: str = "mean") -> Tensor:
    """What :func:`labelled_loss` computes, in plain PyTorch."""
    terms, _ = discriminator_loss_reference(logits, logits, label, "none")
    return terms if reduction == "none" else terms.mean() if reduction == "mean" else terms.sum()
