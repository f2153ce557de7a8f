"""Augmentation of images as they are drawn into a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DRAWN = 3
"""Random numbers per image: for the window's row and column, and for the flip."""


@dataclass(frozen=True)
class Augmentation:
    """A random window of each image, mirrored half the time.

    Attributes:
        size: height and width of the window; None for the whole image.
        flip: whether half of the windows are mirrored, left to right.
    """

    size: tuple[int, int] | None = None
    flip: bool = False

    def window(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the window of an image ``(C, H, W)``."""
        return self.size or (shape[1], shape[2])

    def central(self, images: Tensor) -> Tensor:
        """The central windows of images ``[N, C, H, W]``, not mirrored: for pictures and metrics."""
        height, width = self.window(tuple(images.shape[1:]))
        top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
        return images[:, :, top : top + height, left : left + width]

    def draw(self, images: Tensor, rows: Tensor, numbers: Tensor) -> Tensor:
        """Random windows of some images.

        Args:
            images: ``[N, C, H, W]``.
            rows: int64 ``[B]``, indices of images.
            numbers: ``[B, DRAWN]``, random numbers in [0, 1).
        """
        _, channels, *size = images.shape
        places = []
        for whole, part, number in zip(size, self.window((channels, *size)), numbers.unbind(1), strict=False):
            first = (number * (whole - part + 1)).long().clamp_(max=whole - part)  # a product may round up
            places.append(first[:, None] + torch.arange(part, device=images.device))
        down, across = places
        if self.flip:
            across = torch.where(numbers[:, 2:] < 0.5, across, across.flip(1))
        channel = torch.arange(channels, device=images.device)
        return images[
            rows[:, None, None, None],
            channel[:, None, None],
            down[:, None, :, None],
            across[:, None, None, :],
        ]


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8 from 0 to 255: the inverse of :func:`fastgan.kernels.pixels.unit_range`."""
    return images.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
