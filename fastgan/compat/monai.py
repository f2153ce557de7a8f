"""MONAI 1.6.1, ``monai/losses/adversarial_loss.py``: one side at a time, on logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.ops import labelled_loss

_LOSSES = {"bce": "bce", "hinge": "hinge", "least_squares": "mse"}


class PatchAdversarialLoss(nn.Module):
    """``PatchAdversarialLoss``. ``reduction`` acts on the terms, and on a list of discriminators.

    For hinge it acts on the list alone: there each discriminator has the mean of its terms. Hinge takes the
    logits as they are, not their tanh. Least squares takes a leaky ReLU of them, with slope 0.05, unless
    ``no_activation_leastsq``.
    """

    def __init__(
        self,
        reduction: str = "mean",
        criterion: str = "least_squares",
        no_activation_leastsq: bool = False,
    ) -> None:
        super().__init__()
        if criterion.lower() not in _LOSSES:
            raise ValueError(
                f"criterion must be one of {', '.join(map(repr, _LOSSES))}, but is {criterion!r}"
            )
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")
        self.reduction, self.loss = reduction, _LOSSES[criterion.lower()]
        self.activates = criterion.lower() == "least_squares" and not no_activation_leastsq

    def forward(
        self, input: Tensor | Sequence[Tensor], target_is_real: bool, for_discriminator: bool
    ) -> Tensor | list[Tensor]:
        """G's loss (``for_discriminator=False``) always has the real label."""
        label = float(target_is_real or not for_discriminator)
        logits = [input] if isinstance(input, Tensor) else list(input)
        if self.activates:
            logits = [F.leaky_relu(t, 0.05) for t in logits]
        inner = "mean" if self.loss == "hinge" else self.reduction
        if self.reduction == "none":
            return [labelled_loss(t, label, loss=self.loss, reduction=inner) for t in logits]
        loss = labelled_loss(logits, label, loss=self.loss, reduction=inner, over=self.reduction)
        assert isinstance(loss, Tensor)
        return loss
