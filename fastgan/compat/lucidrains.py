"""lightweight-gan 1.2.1, gigagan-pytorch 0.3.0, stylegan2-pytorch 1.9.0 and magvit2-pytorch 0.5.1.

The first three have the hinge loss with the sign reversed: a *low* logit means real. So a D that was trained
with them needs these functions, not :func:`fastgan.discriminator_loss`.
"""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``hinge_loss`` of lightweight-gan: max(0, 1 + r) + max(0, 1 - f)."""
    return discriminator_loss(fake, real, loss="hinge")


def hinge_loss_fake_first(fake: Tensor, real: Tensor) -> Tensor:
    """``hinge_loss`` of stylegan2-pytorch, which takes generated samples first."""
    return hinge_loss(real, fake)


def gen_hinge_loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """``gen_hinge_loss`` of lightweight-gan and stylegan2-pytorch: the mean of f."""
    return labelled_loss(fake, 0.0, loss="wasserstein")


def discriminator_hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``discriminator_hinge_loss`` of gigagan-pytorch."""
    return hinge_loss(real, fake)


def generator_hinge_loss(fake: Tensor) -> Tensor:
    """``generator_hinge_loss`` of gigagan-pytorch."""
    return gen_hinge_loss(fake)


def hinge_discr_loss(fake: Tensor, real: Tensor) -> Tensor:
    """``hinge_discr_loss`` of magvit2-pytorch, the usual hinge loss."""
    return discriminator_loss(real, fake, loss="hinge")


def hinge_gen_loss(fake: Tensor) -> Tensor:
    """``hinge_gen_loss`` of magvit2-pytorch: the mean of -f."""
    return generator_loss(fake, loss="hinge")
