"""Lightning 2, ``examples/pytorch/domain_templates/generative_adversarial_net.py``: D's loss is halved."""

from __future__ import annotations

from torch import Tensor

from fastgan.compat import one_tensor
from fastgan.compat.pytorch import binary_cross_entropy_with_logits


def adversarial_loss(y_hat: Tensor, y: Tensor | float) -> Tensor:
    """``GAN.adversarial_loss``; pass the label as a number, 1.0 or 0.0."""
    return binary_cross_entropy_with_logits(y_hat, y)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """``d_loss`` of ``GAN.training_step``, (real_loss + fake_loss) / 2, in one pass."""
    return one_tensor.discriminator_loss(real_logits, fake_logits) / 2
