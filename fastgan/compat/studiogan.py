"""PyTorch-StudioGAN, ``src/utils/losses.py`` of 2022.

Before 2022 ``d_vanilla`` had log sigmoid(1 - f), the loss of logits f - 1, instead of log(1 - sigmoid(f)).
This module has the later one. ``DDP`` is ignored, as in the original, and may be left out.
"""

from __future__ import annotations

from torch import Tensor

from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss


def d_vanilla(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``d_vanilla``."""
    return discriminator_loss(d_logit_real, d_logit_fake)


def g_vanilla(d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``g_vanilla``, non-saturating."""
    return generator_loss(d_logit_fake)


d_logistic = d_vanilla  # mean of sums in the original, sum of means here: equal for equal shapes
g_logistic = g_vanilla


def d_hinge(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``d_hinge``."""
    return discriminator_loss(d_logit_real, d_logit_fake, loss="hinge")


def g_hinge(d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``g_hinge``."""
    return generator_loss(d_logit_fake, loss="hinge")


def d_wasserstein(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``d_wasserstein``."""
    return discriminator_loss(d_logit_real, d_logit_fake, loss="wasserstein")


g_wasserstein = g_hinge


def d_ls(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``d_ls``, with the half."""
    return discriminator_loss(d_logit_real, d_logit_fake, loss="least-squares")


def g_ls(d_logit_fake: Tensor, DDP: object = None) -> Tensor:  # noqa: N803
    """``g_ls``, with the half."""
    return generator_loss(d_logit_fake, loss="least-squares")
