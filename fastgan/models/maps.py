"""Shared by convolutional families: maps in channels_last order, and initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from fastgan.models.labels import appended, embedding

fx.wrap("appended")  # a leaf of traces: it looks whether there are labels

_SIGMA = 0.02  # standard deviation of initial weights; biases are 0


class MapsGenerator(nn.Module):
    """A projection to the smallest map, and layers from the map to an image.

    Args:
        latent_dim: size of the latent vector.
        smallest: height, width and channels of the smallest map.
        layers: from ``[N, channels, height, width]`` to images in [-1, 1].
        num_classes: number of classes, or 0 for samples without labels.
    """

    def __init__(
        self,
        latent_dim: int,
        smallest: tuple[int, int, int],
        layers: Sequence[nn.Module],
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.smallest = smallest
        self.labels, width = embedding(num_classes, latent_dim)
        self.project = nn.Linear(width, math.prod(smallest), bias=False)
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate ``[N, *sample_shape]`` in [-1, 1] from ``[N, latent_dim]``, and labels int64 ``[N]``."""
        projected = self.project(appended(self.labels, latent, y))
        # the product's output already has channels last, so no copy is needed
        smallest = projected.unflatten(1, self.smallest).permute(0, 3, 1, 2)
        samples: Tensor = self.layers(smallest)
        return samples


def check_hidden(hidden: Sequence[int]) -> None:
    """Raises ValueError if ``hidden`` is empty."""
    if not hidden:
        raise ValueError("hidden is empty, expected the channels of at least one map")


def image_widths(sample_shape: Sequence[int], width: int = 32, largest: int = 512) -> tuple[int, ...]:
    """Channels of the maps of StyleGAN2's or R3GAN's discriminator, from the image's size to 4 to 7 pixels.

    The generator has the same in reverse.

    Args:
        sample_shape: shape of one image, ``(C, H, W)``.
        width: channels of the map of the image's size; each smaller map has twice as many.
        largest: the most channels of a map.

    Raises:
        ValueError: if the image cannot be halved down to a shorter side of 4 to 7 pixels.

    >>> image_widths((3, 64, 64), 64)
    (64, 128, 256, 512, 512)
    """
    halvings, shorter = 0, min(sample_shape[1:], default=0)
    while shorter >= 8 and all(side % 2 ** (halvings + 1) == 0 for side in sample_shape[1:]):
        halvings, shorter = halvings + 1, shorter // 2
    if len(sample_shape) != 3 or not 4 <= shorter <= 7:
        raise ValueError(
            f"images of shape {tuple(sample_shape)} cannot be halved down to 4 to 7 pixels a side; resize "
            "them (photos: --size) to 32, 64, 128 or another power of two"
        )
    return tuple(min(width * 2**i, largest) for i in range(halvings + 1))


def halved_between(sample_shape: Sequence[int], hidden: Sequence[int]) -> tuple[int, int]:
    """Height and width of the smallest map if the largest has the image's size and each next half of that.

    Raises:
        ValueError: if the samples are no images that can be halved so often, or ``hidden`` is empty.
    """
    check_hidden(hidden)
    divisor = 2 ** (len(hidden) - 1)
    if len(sample_shape) != 3 or any(side % divisor for side in sample_shape[1:]):
        raise ValueError(
            f"samples of shape {tuple(sample_shape)} are not images whose sides can be divided by {divisor}, "
            f"which the {len(hidden)} maps {list(hidden)} need"
        )
    _, height, width = sample_shape
    return height // divisor, width // divisor


def initialize(network: nn.Module, *, scales_vary: bool) -> None:
    """Draw initial weights as in Radford et al., 2016, in channels_last order.

    Args:
        network: network of linear layers, convolutions and batch normalization.
        scales_vary: whether the scales of batch normalization are drawn too, around 1; else they are 1.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and scales_vary:
            nn.init.normal_(layer.weight, 1.0, _SIGMA)
        elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=_SIGMA)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    channels_last(network)


def channels_last(network: nn.Module) -> None:
    """Lay out the weights of convolutions so that these read and write maps in channels_last order."""
    cast("Any", network).to(memory_format=torch.channels_last)  # not in the stubs of every PyTorch
