"""MMCV 2, the operations of StyleGAN in ``mmcv.ops``. ``use_custom_op=False`` computes with PyTorch's."""

from __future__ import annotations

import math

from torch import Tensor

from fastgan.compat import stylegan3
from fastgan.compat.fused_leaky_relu import FusedLeakyReLU, fused_leaky_relu
from fastgan.ops.upfirdn2d import Factor, Padding

fused_bias_leakyrelu = fused_leaky_relu


class FusedBiasLeakyReLU(FusedLeakyReLU):
    """:func:`fused_bias_leakyrelu` with a bias for each channel that learns, 0 at first."""

    def __init__(self, num_channels: int, negative_slope: float = 0.2, scale: float = math.sqrt(2)) -> None:
        super().__init__(num_channels, negative_slope, scale)


_IMPL = {True: "cuda", False: "ref"}


def bias_act(
    input: Tensor,
    bias: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    use_custom_op: bool = True,
) -> Tensor:
    """:func:`fastgan.bias_act`."""
    impl = _IMPL[use_custom_op]
    return stylegan3.bias_act.bias_act(input, bias, dim, act, alpha, gain, clamp, impl)


def upfirdn2d(
    input: Tensor,
    filter: Tensor | None,
    up: Factor = 1,
    down: Factor = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """:func:`fastgan.upfirdn2d`."""
    impl = _IMPL[use_custom_op]
    return stylegan3.upfirdn2d.upfirdn2d(input, filter, up, down, padding, flip_filter, gain, impl)


def filter2d(
    input: Tensor,
    filter: Tensor | None,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """:func:`fastgan.filter2d`."""
    impl = _IMPL[use_custom_op]
    return stylegan3.upfirdn2d.filter2d(input, filter, padding, flip_filter, gain, impl)


def upsample2d(
    input: Tensor,
    filter: Tensor | None,
    up: Factor = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Tensor:
    """:func:`fastgan.upsample2d`."""
    impl = _IMPL[use_custom_op]
    return stylegan3.upfirdn2d.upsample2d(input, filter, up, padding, flip_filter, gain, impl)
