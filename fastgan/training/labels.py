"""Class labels: a discriminator bound to those of a turn, and labels to sample with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_SIDE = 8  # images in a row of a picture
_MOST_ROWS = 16


class Bound(nn.Module):
    """A discriminator with the labels of a turn, as a function of the samples alone."""

    def __init__(self, discriminator: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.discriminator, self.labels = discriminator, labels

    def forward(self, samples: Tensor) -> Tensor:
        outputs: Tensor = self.discriminator(samples, self.labels)
        return outputs


def bound(discriminator: nn.Module, labels: Tensor | None) -> nn.Module:
    """A discriminator of samples alone: bound to the labels, if there are any."""
    return discriminator if labels is None else Bound(discriminator, labels)


def in_order(classes: Sequence[int], count: int) -> Tensor:
    """int64 ``[count]``: labels in the order of ``classes``, each equally often up to rounding."""
    return torch.tensor(classes)[torch.arange(count) * len(classes) // count]


def picture_count(classes: Sequence[int]) -> int:
    """Number of images in a square picture, 64 or, so that labels :func:`in_order` fill rows, more."""
    rows = len(classes) if 0 < len(classes) <= _MOST_ROWS else 1
    return (-(-_SIDE // rows) * rows) ** 2
