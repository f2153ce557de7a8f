"""StyleGAN's logistic losses, the softplus in NVIDIA's training code, and rosinality's operations."""

from __future__ import annotations

import math

from torch import Tensor

from fastgan.compat.fused_leaky_relu import FusedLeakyReLU as _FusedLeakyReLU
from fastgan.compat.fused_leaky_relu import fused_leaky_relu, upfirdn2d
from fastgan.compat.one_tensor import discriminator_loss
from fastgan.ops import generator_loss, labelled_loss

__all__ = [
    "FusedLeakyReLU",
    "d_logistic_loss",
    "fused_leaky_relu",
    "g_nonsaturating_loss",
    "softplus",
    "upfirdn2d",
]


def d_logistic_loss(real_pred: Tensor, fake_pred: Tensor) -> Tensor:
    """``d_logistic_loss`` of rosinality/stylegan2-pytorch, ``train.py``."""
    return discriminator_loss(real_pred, fake_pred)


def g_nonsaturating_loss(fake_pred: Tensor) -> Tensor:
    """``g_nonsaturating_loss`` of rosinality/stylegan2-pytorch, ``train.py``."""
    return generator_loss(fake_pred)


def softplus(input: Tensor) -> Tensor:
    """``torch.nn.functional.softplus`` in NVlabs/stylegan2-ada-pytorch and stylegan3, ``training/loss.py``.

    There each term has its own backward pass: ``softplus(-gen_logits)`` for G, ``softplus(gen_logits)`` and
    ``softplus(-real_logits)`` for D.
    """
    return labelled_loss(input, 0.0, reduction="none")


class FusedLeakyReLU(_FusedLeakyReLU):
    """``FusedLeakyReLU`` of rosinality/stylegan2-pytorch: with a bias for each channel, or without one."""

    def __init__(
        self, channel: int, bias: bool = True, negative_slope: float = 0.2, scale: float = math.sqrt(2)
    ) -> None:
        super().__init__(channel, negative_slope, scale)
        if not bias:
            self.register_parameter("bias", None)
