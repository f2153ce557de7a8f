"""TF-GAN 2.1.0, ``tensorflow_gan/python/losses/losses_impl.py``, with every weight 1.

TensorFlow's weights, scopes, collections and summaries are not supported. The reduction is TF-GAN's default,
the mean for weights of 1. The hinge margin is its default, 1.
"""

from __future__ import annotations

import math

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss


def minimax_discriminator_loss(
    discriminator_real_outputs: Tensor, discriminator_gen_outputs: Tensor, label_smoothing: float = 0.25
) -> Tensor:
    """``minimax_discriminator_loss``. TensorFlow smooths a label y to (1 - s) y + s / 2: 0.875 by default."""
    return discriminator_loss(
        discriminator_real_outputs, discriminator_gen_outputs, real_label=1 - label_smoothing / 2
    )


modified_discriminator_loss = minimax_discriminator_loss


def minimax_generator_loss(discriminator_gen_outputs: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """``minimax_generator_loss``: the saturating loss minus (softplus(-1) + s / 2).

    TF-GAN negates the discriminator's loss with real *logits* of 1, which leaves their constant term.
    """
    real_term = math.log1p(math.exp(-1)) + label_smoothing / 2
    return generator_loss(discriminator_gen_outputs, saturating=True) - real_term


def modified_generator_loss(discriminator_gen_outputs: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """``modified_generator_loss``: non-saturating, with a label smoothed like the discriminator's."""
    return labelled_loss(discriminator_gen_outputs, 1 - label_smoothing / 2)


def wasserstein_discriminator_loss(
    discriminator_real_outputs: Tensor, discriminator_gen_outputs: Tensor
) -> Tensor:
    """``wasserstein_discriminator_loss``."""
    return discriminator_loss(discriminator_real_outputs, discriminator_gen_outputs, loss="wasserstein")


def wasserstein_generator_loss(discriminator_gen_outputs: Tensor) -> Tensor:
    """``wasserstein_generator_loss``."""
    return generator_loss(discriminator_gen_outputs, loss="wasserstein")


def wasserstein_hinge_discriminator_loss(
    discriminator_real_outputs: Tensor, discriminator_gen_outputs: Tensor
) -> Tensor:
    """``wasserstein_hinge_discriminator_loss``."""
    return discriminator_loss(discriminator_real_outputs, discriminator_gen_outputs, loss="hinge")


wasserstein_hinge_generator_loss = wasserstein_generator_loss


def least_squares_discriminator_loss(
    discriminator_real_outputs: Tensor,
    discriminator_gen_outputs: Tensor,
    real_label: float = 1.0,
    fake_label: float = 0.0,
) -> Tensor:
    """``least_squares_discriminator_loss``, with the half."""
    return discriminator_loss(
        discriminator_real_outputs,
        discriminator_gen_outputs,
        loss="least-squares",
        real_label=real_label,
        fake_label=fake_label,
    )


def least_squares_generator_loss(discriminator_gen_outputs: Tensor, real_label: float = 1.0) -> Tensor:
    """``least_squares_generator_loss``, with the half."""
    return labelled_loss(discriminator_gen_outputs, real_label, loss="least-squares")
