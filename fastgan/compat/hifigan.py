"""HiFi-GAN's ``models.py`` and BigVGAN 2.4.1's ``loss.py``, also copied by VITS, RVC and NeMo.

What they return as Python floats, for which the host waits on the device, are scalar tensors here.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.compat.sides import Sides, side_losses
from fastgan.ops import feature_matching_loss, labelled_loss


def feature_loss(fmap_r: Sequence[Sequence[Tensor]], fmap_g: Sequence[Sequence[Tensor]]) -> Tensor:
    """``feature_loss``: twice the sum of all maps' L1 distances. VITS also detaches the real maps."""
    return feature_matching_loss(fmap_r, fmap_g, factor=2.0, detach_real=False)


def discriminator_loss(
    disc_real_outputs: Sequence[Tensor], disc_generated_outputs: Sequence[Tensor]
) -> Sides:
    """``discriminator_loss``: the sum of least squares, and both sides' losses of each discriminator."""
    return side_losses(disc_real_outputs, disc_generated_outputs, "mse")


def generator_loss(disc_outputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """``generator_loss``: the sum of least squares, and the loss of each discriminator, without a graph."""
    total, each = labelled_loss(disc_outputs, 1.0, loss="mse", return_terms=True)
    return total, list(each.unbind())
