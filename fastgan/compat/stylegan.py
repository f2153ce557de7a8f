"""StyleGAN's logistic losses, the softplus in NVIDIA's training code, and rosinality's operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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


class FusedLeakyReLU(nn.Module):
    """:func:`fused_leaky_relu` with a bias for each channel that learns, 0 at first, or without one.

    That of rosinality/stylegan2-pytorch. BasicSR's has no argument ``bias``.
    """

    def __init__(
        self, channel: int, bias: bool = True, negative_slope: float = 0.2, scale: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel)) if bias else None
        self.negative_slope, self.scale = negative_slope, scale

    def forward(self, input: Tensor) -> Tensor:
        return fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)
