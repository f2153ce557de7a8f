"""The losses of ``ctgan/synthesizers/ctgan.py``: a Wasserstein loss on packs of rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastgan import penalties
from fastgan.ops import discriminator_loss as any_discriminator_loss
from fastgan.ops import generator_loss as any_generator_loss


def discriminator_loss(y_real: Tensor, y_fake: Tensor) -> Tensor:
    """``loss_d``: the mean of f minus that of r. Detach the generated rows, which the original does not."""
    return any_discriminator_loss(y_real, y_fake, loss="wasserstein")


def generator_loss(y_fake: Tensor, cross_entropy: Tensor | float = 0.0) -> Tensor:
    """``loss_g``: minus the mean of f, plus the cross-entropy of the condition."""
    return any_generator_loss(y_fake, loss="wasserstein") + cross_entropy


def calc_gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real_data: Tensor,
    fake_data: Tensor,
    device: torch.device | str = "cpu",
    pac: int = 10,
    lambda_: float = 10,
) -> Tensor:
    """``Discriminator.calc_gradient_penalty``, a method there: the norm is that of a pack of rows.

    ``device`` is not used: random numbers are drawn on the device of ``real_data``.
    """
    return penalties.wgan_gp(discriminator, real_data, fake_data, float(lambda_), pack=pac)
