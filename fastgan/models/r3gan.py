"""R3GAN (Huang et al. 2025, arXiv:2501.05441): residual blocks of grouped convolutions, no normalization.

It is trained with ``fastgan.relativistic_loss``, ``penalties.r1`` and ``penalties.r2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from fastgan.models.labels import Labels, projected
from fastgan.models.maps import channels_last, halved_between
from fastgan.ops import bias_act, downsample2d, setup_filter, upsample2d

for _name in ("bias_act", "downsample2d", "upsample2d"):
    fx.wrap(_name)  # leaves of traces: they branch on their arguments

_FILTER = (1, 2, 1)  # bilinear
_EXPANSION = 2  # channels within a block, relative to those of its map
_GROUP = 16  # the most channels of a group
_GAIN = math.sqrt(2 / (1 + 0.2**2))  # keeps the variance of a leaky ReLU's output
_CONVOLUTIONS = 3  # of a block

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class R3GANGenerator(nn.Module):
    """A learned basis of maps, weighted by the latent vector, then residual blocks at each size.

    Args:
        latent_dim: size of the latent vector, and of the vector of a class that is appended to it.
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from the smallest map to that of the image's size; see
            :func:`fastgan.models.image_widths`.
        num_classes: number of classes, or 0 for samples without labels.
        blocks: residual blocks for each map; the paper has 2.

    Raises:
        ValueError: if the image cannot be halved between each two of ``hidden``.
    """

    def __init__(
        self,
        latent_dim: int,
        sample_shape: Sequence[int],
        hidden: Sequence[int],
        *,
        num_classes: int = 0,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        smallest = halved_between(sample_shape, hidden)
        self.labels = Labels(num_classes, latent_dim)
        self.weights = _scaled(nn.Linear(latent_dim * (2 if num_classes else 1), hidden[0], bias=False))
        self.basis = nn.Parameter(torch.randn(hidden[0], *smallest))
        self.stages = nn.ModuleList(_stage(n, blocks, blocks * len(hidden)) for n in hidden)
        self.doublings = nn.ModuleList(_Doubling(*widths) for widths in pairwise(hidden))
        self.to_image = _convolution(hidden[-1], sample_shape[0])
        channels_last(self)

    def forward(self, latent: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate ``[N, *sample_shape]`` from ``[N, latent_dim]`` and, of classes, labels int64 ``[N]``.

        Values are not bounded; those of images in [-1, 1] are expected to be there.
        """
        vectors = self.labels(y, latent.shape[0])
        if vectors is not None:
            latent = torch.cat([latent, vectors], 1)
        x = self.stages[0](self.weights(latent)[:, :, None, None] * self.basis)
        for doubling, stage in zip(self.doublings, self.stages[1:], strict=True):
            x = stage(doubling(x))
        image: Tensor = self.to_image(x)
        return image


class R3GANDiscriminator(nn.Module):
    """Residual blocks at each size; then each channel's product with a learned map, and a linear layer.

    Args:
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from that of the image's size to the smallest; see
            :func:`fastgan.models.image_widths`.
        num_classes: number of classes, or 0 for samples without labels. The logit is then the product of
            features and a vector of the class (Miyato and Koyama, 2018).
        blocks: residual blocks for each map; the paper has 2.

    Raises:
        ValueError: if the image cannot be halved between each two of ``hidden``.
    """

    def __init__(
        self, sample_shape: Sequence[int], hidden: Sequence[int], *, num_classes: int = 0, blocks: int = 1
    ) -> None:
        super().__init__()
        smallest, last = halved_between(sample_shape, hidden), hidden[-1]
        self.from_image = _convolution(sample_shape[0], hidden[0])
        self.stages = nn.ModuleList(_stage(n, blocks, blocks * len(hidden)) for n in hidden)
        self.halvings = nn.ModuleList(_Halving(*widths) for widths in pairwise(hidden))
        self.basis = _scaled(nn.Conv2d(last, last, smallest, groups=last, bias=False))
        self.out = _scaled(nn.Linear(last, last if num_classes else 1, bias=False))
        self.labels = Labels(num_classes, last)
        channels_last(self)

    def forward(self, samples: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits ``[N, 1]`` of samples and, of classes, labels int64 ``[N]``; positive means real."""
        vectors = self.labels(y, samples.shape[0])
        x = self.stages[0](self.from_image(samples))
        for halving, stage in zip(self.halvings, self.stages[1:], strict=True):
            x = stage(halving(x))
        return projected(self.out(self.basis(x).flatten(1)), vectors)


class _Block(nn.Module):
    """``x`` plus convolutions of 1, 3 and 1 pixels, with bias and leaky ReLU between them.

    Without normalization, the variance of the output must not grow with the number of blocks: the last
    convolution is zero at first, and the others are scaled (Zhang et al. 2019, arXiv:1901.09321, section 3).
    """

    def __init__(self, width: int, n_blocks: int) -> None:
        super().__init__()
        inner = _EXPANSION * width
        gain = _GAIN * n_blocks ** (-1 / (2 * _CONVOLUTIONS - 2))
        self.expand = _convolution(width, inner, gain=gain)
        self.bias = nn.Parameter(torch.zeros(inner))
        self.mix = _convolution(inner, inner, 3, groups=inner // math.gcd(inner, _GROUP), gain=gain)
        self.mixed_bias = nn.Parameter(torch.zeros(inner))
        self.reduce = _convolution(inner, width, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = bias_act(self.expand(x), self.bias, act="lrelu", gain=1.0)
        y = bias_act(self.mix(y), self.mixed_bias, act="lrelu", gain=1.0)
        total: Tensor = x + self.reduce(y)
        return total


class _Resampling(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convert = nn.Identity() if n_in == n_out else _convolution(n_in, n_out)
        self.filter: Tensor
        self.register_buffer("filter", setup_filter(_FILTER))


class _Doubling(_Resampling):
    def forward(self, x: Tensor) -> Tensor:
        return upsample2d(self.convert(x), self.filter)


class _Halving(_Resampling):
    def forward(self, x: Tensor) -> Tensor:
        halved: Tensor = self.convert(downsample2d(x, self.filter))
        return halved


def _stage(width: int, blocks: int, n_blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width, n_blocks) for _ in range(blocks)))


def _convolution(
    n_in: int, n_out: int, kernel_size: int = 1, *, groups: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    padding = kernel_size // 2
    return _scaled(nn.Conv2d(n_in, n_out, kernel_size, padding=padding, groups=groups, bias=False), gain)


def _scaled(layer: Layer, gain: float = 1.0) -> Layer:
    """Draw the weights so that the output has the variance of the input times the square of ``gain``."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    return layer
