"""PyTorch's binary cross-entropy with logits, for a label that is one number."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.ops import labelled_loss


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor | float, *, reduction: str = "mean"
) -> Tensor:
    """``torch.nn.functional.binary_cross_entropy_with_logits`` whose target may be a number in [0, 1].

    Numbers use the fused loss. A tensor of targets uses PyTorch's function, with a warning: checking whether
    all its values are equal would wait for the device.
    """
    if not isinstance(target, Tensor):
        return labelled_loss(input, target, reduction=reduction)
    warnings.warn(
        "a tensor of targets uses PyTorch's loss; for one label give the number: criterion(logits, 1.0)",
        stacklevel=2,
    )
    return F.binary_cross_entropy_with_logits(input, target, reduction=reduction)


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """``torch.nn.BCEWithLogitsLoss`` without weights: :func:`binary_cross_entropy_with_logits`."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor | float) -> Tensor:
        return binary_cross_entropy_with_logits(input, target, reduction=self.reduction)
