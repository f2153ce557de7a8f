"""``fused_leaky_relu`` and ``upfirdn2d``, as BasicSR, MMCV and rosinality/stylegan2-pytorch have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import fastgan


def fused_leaky_relu(
    input: Tensor, bias: Tensor | None = None, negative_slope: float = 0.2, scale: float = math.sqrt(2)
) -> Tensor:
    """``scale * leaky_relu(input + bias)``, with the bias along dimension 1."""
    if bias is not None:
        bias = bias.to(input.dtype)
    return fastgan.bias_leaky_relu(input, bias, negative_slope, gain=scale)


class FusedLeakyReLU(nn.Module):
    """:func:`fused_leaky_relu` with a bias for each channel that learns, 0 at first."""

    def __init__(self, channel: int, negative_slope: float = 0.2, scale: float = math.sqrt(2)) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))
        self.negative_slope, self.scale = negative_slope, scale

    def forward(self, input: Tensor) -> Tensor:
        return fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)


def upfirdn2d(
    input: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: Sequence[int] = (0, 0)
) -> Tensor:
    """:func:`fastgan.upfirdn2d`, with ``pad`` before and after both axes, or for x and then for y."""
    if len(pad) not in (2, 4):
        raise ValueError(f"pad must be (before, after) or those of x and of y, but is {pad!r}")
    return fastgan.upfirdn2d(input, kernel, up, down, (*pad, *pad)[:4])
