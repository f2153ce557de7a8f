"""The networks of Metz et al., 2017, for their ring and, as repeated by PacGAN's authors, stacked digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, fx, nn

from fastgan.models.maps import MapsGenerator, check_hidden, initialize
from fastgan.ops import bias_leaky_relu

fx.wrap("bias_leaky_relu")  # a leaf of traces: it branches on its arguments

_GAIN = 0.8  # of the orthogonal initial weights of networks for points
_SLOPE = 0.3
_KERNEL, _STRIDE, _PADDING = 3, 2, 1  # of all convolutions that halve or double maps


def unrolled_generator(latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int]) -> nn.Module:
    """ReLU layers for points, :class:`UnrolledGenerator` for images; same arguments as that."""
    if len(sample_shape) == 3:
        return UnrolledGenerator(latent_dim, sample_shape, hidden)
    layers = _relu_layers([latent_dim, *hidden, math.prod(sample_shape)])
    return layers.append(nn.Unflatten(1, tuple(sample_shape)))


def unrolled_discriminator(sample_shape: Sequence[int], hidden: Sequence[int]) -> nn.Module:
    """ReLU layers on points / 4, :class:`UnrolledDiscriminator` for images; same arguments as that."""
    if len(sample_shape) == 3:
        return UnrolledDiscriminator(sample_shape, hidden)
    return nn.Sequential(_Quarter(), *_relu_layers([math.prod(sample_shape), *hidden, 1]))


class UnrolledGenerator(MapsGenerator):
    """A projection to the smallest map, transposed convolutions that double it, and one that keeps its size.

    Each layer is followed by batch normalization and ReLU, the last by tanh. Maps and weights are in
    channels_last order.

    Args:
        latent_dim: size of the latent vector.
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from the smallest map to that of the image's size.

    Raises:
        ValueError: if ``hidden`` is empty.
    """

    def __init__(self, latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        check_hidden(hidden)
        channels, *size = sample_shape
        sizes = _halved(size, len(hidden) - 1)[::-1]
        layers: list[nn.Module] = [nn.BatchNorm2d(hidden[0]), nn.ReLU()]
        for (n_in, n_out), (small, large) in zip(pairwise(hidden), pairwise(sizes), strict=True):
            # 1 if the larger side is even, 0 if it is odd, as its half was rounded up
            output_padding = (large[0] + 1 - 2 * small[0], large[1] + 1 - 2 * small[1])
            double = nn.ConvTranspose2d(n_in, n_out, _KERNEL, _STRIDE, _PADDING, output_padding, bias=False)
            layers += [double, nn.BatchNorm2d(n_out), nn.ReLU()]
        last = nn.Conv2d(hidden[-1], channels, _KERNEL, padding=_PADDING)
        height, width = sizes[0]
        super().__init__(latent_dim, (height, width, hidden[0]), [*layers, last, nn.Tanh()])
        initialize(self, scales_vary=False)


class UnrolledDiscriminator(nn.Module):
    """Convolutions that halve the map, with batch normalization and leaky ReLU, then a linear layer.

    Because of batch normalization, real and generated samples must not be in the same batch.

    Args:
        sample_shape: shape of a pack, whose first size is that of a sample times the number of samples.
        hidden: channels of the maps, from the map of half the image's size to the smallest.

    Raises:
        ValueError: if ``hidden`` is empty.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        check_hidden(hidden)
        channels, *size = sample_shape
        height, width = _halved(size, len(hidden))[-1]
        layers = pairwise([channels, *hidden])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(*n, _KERNEL, _STRIDE, _PADDING, bias=False) for n in layers
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for n_out in hidden)
        self.last = nn.Linear(hidden[-1] * height * width, 1)
        initialize(self, scales_vary=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits ``[N, 1]`` of samples ``[N, *sample_shape]``; positive means real."""
        maps = samples
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = bias_leaky_relu(norm(convolution(maps)), negative_slope=_SLOPE)
        logits: Tensor = self.last(maps.flatten(1))
        return logits


class _Quarter(nn.Module):
    """Scales a circle of radius 2 into (-1, 1)."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples / 4


def _relu_layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        linear = nn.Linear(n_in, n_out)
        nn.init.orthogonal_(linear.weight, _GAIN)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _halved(size: Sequence[int], times: int) -> list[tuple[int, ...]]:
    """An image's size, and its sizes after 1 to ``times`` halvings, rounded up."""
    sizes = [tuple(size)]
    for _ in range(times):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes
