"""PyTorch-StudioGAN, ``src/utils/losses.py`` of 2022.

Earlier its ``d_vanilla`` had log sigmoid(1 - f) for log(1 - sigmoid(f)), the loss of logits f - 1; this is
the later one. ``DDP``, which no loss there reads, may be given and left out.
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


d_logistic = d_vanilla  # there the mean of the sums, here the sum of the means: the same for equal shapes
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
