"""Operators of resampling of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.ops.arguments import (
    check_finite,
    check_image_filter,
    check_images,
    check_like,
    check_room,
)
from fastgan.ops.registered.registration import register
from fastgan.ops.registered.shapes import (
    is_channels_last,
)


def _check_upfirdn2d(input: Tensor, filter: Tensor, *call: Any) -> None:
    check_images(input, "input")
    check_image_filter(filter, "filter", input, "input")
    if input.dtype is torch.float64:
        check_like(filter, "filter", input, "input")
    resampling = Resampling(*call)
    for name, pair in (("up", resampling.up), ("down", resampling.down)):
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(f"{name} must be two numbers of at least 1, for x and y, but is {list(pair)}")
    if len(resampling.padding) != 4:
        raise ValueError(
            f"padding must be four numbers: left, right, top, bottom, but is {list(resampling.padding)}"
        )
    check_finite(resampling.gain, "gain")
    check_room(input, filter, resampling)


def _upfirdn2d(input: Tensor, filter: Tensor, *call: Any) -> Tensor:
    output = choose(input).upfirdn2d(input, filter, _resampling(*call))
    return output.contiguous(memory_format=_format_of(input))


def _upfirdn2d_fake(input: Tensor, filter: Tensor, *call: Any) -> Tensor:
    samples, channels, height, width = input.shape
    shape = (samples, channels, *_resampling(*call).size(height, width, taps_of(filter)))
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=_format_of(input))


def _resampling(up: list[int], down: list[int], padding: list[int], flip: bool, gain: float) -> Resampling:
    left, right, top, bottom = padding
    return Resampling((up[0], up[1]), (down[0], down[1]), (left, right, top, bottom), flip, gain)


def _format_of(input: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(input, 1) else torch.contiguous_format


register(
    "upfirdn2d(Tensor input, Tensor filter, int[] up, int[] down, SymInt[] padding, bool flip_filter, "
    "float gain) -> Tensor",
    _check_upfirdn2d,
    _upfirdn2d,
    _upfirdn2d_fake,
)
