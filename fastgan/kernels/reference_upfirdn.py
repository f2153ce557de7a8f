"""Upsampling, filtering and downsampling of images in plain PyTorch: a part of the reference backend."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.convolutions import without_autocast
from fastgan.kernels.native import in_compute_dtype

MOST_TAPS = 32


class Resampling(NamedTuple):
    """How an image is resampled; pairs are of x and y.

    Zeros are inserted after each pixel, the image is padded or cropped, convolved with the filter, and
    multiplied by ``gain``; then some of its pixels are kept.

    Attributes:
        up: each pixel becomes this many; at least 1.
        down: one of this many is kept; at least 1.
        padding: pixels added on the left, right, top and bottom of the upsampled image; cropped if negative.
        flip_filter: whether a correlation is computed, not a convolution.
        gain: a factor.
    """

    up: tuple[int, int]
    down: tuple[int, int]
    padding: tuple[int, int, int, int]
    flip_filter: bool
    gain: float

    def size(self, height: int, width: int, taps: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the result, for a filter of this height and width.

        If nothing is left, one of them is not positive.
        """
        left, right, top, bottom = self.padding
        return (
            (height * self.up[1] + top + bottom - taps[0]) // self.down[1] + 1,
            (width * self.up[0] + left + right - taps[1]) // self.down[0] + 1,
        )

    def backward(self, height: int, width: int, taps: tuple[int, int]) -> Resampling:
        """Return the resampling that computes the gradient of an image of this size."""
        out_height, out_width = self.size(height, width, taps)
        left, top = taps[1] - 1 - self.padding[0], taps[0] - 1 - self.padding[2]
        right = (width - 1) * self.up[0] + taps[1] - left - out_width * self.down[0]
        bottom = (height - 1) * self.up[1] + taps[0] - top - out_height * self.down[1]
        return Resampling(self.down, self.up, (left, right, top, bottom), not self.flip_filter, self.gain)


def taps_of(filter: Tensor) -> tuple[int, int]:
    """Return the height and width of a filter [height, width] or, if separable, [taps]."""
    return (filter.shape[0], filter.shape[-1])


class UpfirdnReference:
    """The method of a backend for resampling."""

    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        """Return a resampled image.

        ``input`` is [N, C, H, W]. ``filter`` is [height, width], or [taps] if it is applied along both axes;
        in the dtype of ``input``, or in float32 for half types.
        """
        (up_x, up_y), (down_x, down_y) = resampling.up, resampling.down
        n, c, h, w = input.shape
        x = in_compute_dtype(input).reshape(n * c, 1, h, 1, w, 1)
        x = F.pad(x, (0, up_x - 1, 0, 0, 0, up_y - 1)).view(n * c, 1, h * up_y, w * up_x)
        # padded first: one side may be cropped by more than there is without the padding of the other
        x = F.pad(x, [max(p, 0) for p in resampling.padding])
        x = F.pad(x, [min(p, 0) for p in resampling.padding])
        f = in_compute_dtype(filter)
        if not resampling.flip_filter:
            f = f.flip(list(range(f.dim())))
        if f.dim() == 1:
            x = without_autocast(F.conv2d, x, f.view(1, 1, 1, -1), (1, down_x))
            x = without_autocast(F.conv2d, x, resampling.gain * f.view(1, 1, -1, 1), (down_y, 1))
        else:
            x = without_autocast(F.conv2d, x, resampling.gain * f.view(1, 1, *f.shape), (down_y, down_x))
        return x.view(n, c, *x.shape[2:]).to(input.dtype)
