"""torchgan 0.1.0, ``torchgan/losses/functional.py``."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss


def minimax_generator_loss(dgz: Tensor, nonsaturating: bool = True, reduction: str = "mean") -> Tensor:
    """``minimax_generator_loss``."""
    return generator_loss(dgz, saturating=not nonsaturating, reduction=reduction)


def minimax_discriminator_loss(
    dx: Tensor, dgz: Tensor, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """``minimax_discriminator_loss``, with the label 1 - s for real samples."""
    return discriminator_loss(dx, dgz, real_label=1 - label_smoothing, reduction=reduction)


def least_squares_generator_loss(dgz: Tensor, c: float = 1.0, reduction: str = "mean") -> Tensor:
    """``least_squares_generator_loss``, with the half."""
    return labelled_loss(dgz, c, loss="least-squares", reduction=reduction)


def least_squares_discriminator_loss(
    dx: Tensor, dgz: Tensor, a: float = 0.0, b: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """``least_squares_discriminator_loss``, with the half; targets: a for generated samples, b for real."""
    return discriminator_loss(dx, dgz, loss="least-squares", real_label=b, fake_label=a, reduction=reduction)


def wasserstein_generator_loss(fgz: Tensor, reduction: str = "mean") -> Tensor:
    """``wasserstein_generator_loss``."""
    return generator_loss(fgz, loss="wasserstein", reduction=reduction)


def wasserstein_discriminator_loss(fx: Tensor, fgz: Tensor, reduction: str = "mean") -> Tensor:
    """``wasserstein_discriminator_loss``."""
    return discriminator_loss(fx, fgz, loss="wasserstein", reduction=reduction)
