"""Stores the first samples of a run as text in its file, for the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.data.dataset import is_points

_POINTS, _IMAGES = 1_000, 9


def thumbnails(samples: Tensor) -> list[str]:
    """For points a line per coordinate; for images the bytes of each as hexadecimal digits."""
    if is_points(tuple(samples.shape[1:])):
        return [" ".join(f"{x:.4g}" for x in axis) for axis in samples[:_POINTS].t().tolist()]
    levels = (samples[:_IMAGES].clamp(-1, 1) + 1).mul(127.5).round().byte()
    return [bytes(image).hex() for image in levels.flatten(1).tolist()]


def images_of(stored: list[str], shape: tuple[int, ...]) -> Tensor:
    """The images of :func:`thumbnails`'s lines."""
    levels = torch.tensor([list(bytes.fromhex(image)) for image in stored])
    return (levels / 127.5 - 1).reshape(-1, *shape)
