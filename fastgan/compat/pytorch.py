"""PyTorch's binary cross-entropy with logits, of labels that are one number."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.ops import labelled_loss


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor | float, *, reduction: str = "mean"
) -> Tensor:
    """``torch.nn.functional.binary_cross_entropy_with_logits``, whose target may be a number in [0, 1].

    A number is fused. A tensor of targets goes to PyTorch's own function, with one warning: whether it
    holds one number only cannot be seen without waiting for the device.
    """
    if not isinstance(target, Tensor):
        return labelled_loss(input, target, reduction=reduction)
    warnings.warn(
        "a tensor of targets is left to PyTorch; for one label give the number, as criterion(logits, 1.0)",
        stacklevel=2,
    )
    return F.binary_cross_entropy_with_logits(input, target, reduction=reduction)


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """``torch.nn.BCEWithLogitsLoss`` without weights: :func:`binary_cross_entropy_with_logits`."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor | float) -> Tensor:
        return binary_cross_entropy_with_logits(input, target, reduction=self.reduction)
