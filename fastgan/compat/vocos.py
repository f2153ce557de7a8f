"""Vocos 0.1.0, ``vocos/loss.py``: hinge losses with a margin for G too, and sums of shape (1,)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fastgan.compat.sides import Sides, side_losses
from fastgan.ops import feature_matching_loss, labelled_loss


class GeneratorLoss(nn.Module):
    """``GeneratorLoss``: the sum of max(0, 1 - f), and the loss of each discriminator, without a graph."""

    def forward(self, disc_outputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        total, each = labelled_loss(disc_outputs, 1.0, loss="hinge", return_terms=True)
        return total.reshape(1), list(each.unbind())


class DiscriminatorLoss(nn.Module):
    """``DiscriminatorLoss``: the sum, and both sides' losses of each discriminator, without a graph."""

    def forward(self, disc_real_outputs: Sequence[Tensor], disc_generated_outputs: Sequence[Tensor]) -> Sides:
        total, real, fake = side_losses(disc_real_outputs, disc_generated_outputs, "hinge")
        return total.reshape(1), real, fake


class FeatureMatchingLoss(nn.Module):
    """``FeatureMatchingLoss``: the sum of all maps' L1 distances, with gradients of real maps too."""

    def forward(self, fmap_r: Sequence[Sequence[Tensor]], fmap_g: Sequence[Sequence[Tensor]]) -> Tensor:
        return feature_matching_loss(fmap_r, fmap_g, detach_real=False).reshape(1)
