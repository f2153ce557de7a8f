"""torchgan 0.1.0, ``torchgan/losses/functional.py``."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss, generator_loss


def minimax_generator_loss(dgz: Tensor, nonsaturating: bool = True, reduction: str = "mean") -> Tensor:
    """``minimax_generator_loss``."""
    return generator_loss(dgz, saturating=not nonsaturating, reduction=reduction)


def minimax_discriminator_loss(
    dx: Tensor, dgz: Tensor, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """``minimax_discriminator_loss``: real samples have the label 1 - s."""
    return discriminator_loss(dx, dgz, real_label=1 - label_smoothing, reduction=reduction)
