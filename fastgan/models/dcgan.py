"""DCGAN (Radford et al., 2016), for images whose sides can be halved down to 3 to 7 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, fx, nn

from fastgan.models.labels import judged, projection
from fastgan.models.maps import MapsGenerator, check_hidden, initialize
from fastgan.nn import Conv2dLeakyReLU
from fastgan.ops import bias_leaky_relu

# leaves of traces: they branch on their arguments
fx.wrap("bias_leaky_relu")
fx.wrap("judged")

_SMALLEST, _LARGEST = 3, 7  # the shorter side of the smallest map
_KERNEL, _STRIDE, _PADDING = 4, 2, 1  # of all convolutions that halve or double maps


class DCGANGenerator(MapsGenerator):
    """A projection to the smallest map, then transposed convolutions that double it.

    Each layer is followed by batch normalization and ReLU, the last by tanh. Maps and weights are in
    channels_last order.

    Args:
        latent_dim: size of the latent vector.
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from the smallest map to that of half the image's size.
        num_classes: number of classes, or 0 for samples without labels.

    Raises:
        ValueError: if the image cannot be halved once for each of ``hidden``.
    """

    def __init__(
        self, latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int], *, num_classes: int = 0
    ) -> None:
        smallest = (*smallest_map(sample_shape, hidden), hidden[0])
        layers: list[nn.Module] = [nn.BatchNorm2d(hidden[0]), nn.ReLU()]
        for n_in, n_out in pairwise(hidden):
            # batch normalization adds a bias
            double = nn.ConvTranspose2d(n_in, n_out, _KERNEL, _STRIDE, _PADDING, bias=False)
            layers += [double, nn.BatchNorm2d(n_out), nn.ReLU()]
        last = nn.ConvTranspose2d(hidden[-1], sample_shape[0], _KERNEL, _STRIDE, _PADDING)
        super().__init__(latent_dim, smallest, [*layers, last, nn.Tanh()], num_classes)
        initialize(self, scales_vary=True)


class DCGANDiscriminator(nn.Module):
    """Convolutions that halve the map, with leaky ReLU and, except in the first, batch normalization.

    The last map becomes one logit. Because of batch normalization, real and generated samples must not be in
    the same batch.

    Args:
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: channels of the maps, from the map of half the image's size to the smallest.
        num_classes: number of classes, or 0 for samples without labels.

    Raises:
        ValueError: if the image cannot be halved once for each of ``hidden``.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int], *, num_classes: int = 0) -> None:
        super().__init__()
        smallest = smallest_map(sample_shape, hidden)
        first, *others = pairwise([sample_shape[0], *hidden])
        self.first = Conv2dLeakyReLU(*first, _KERNEL, _STRIDE, _PADDING)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(*channels, _KERNEL, _STRIDE, _PADDING, bias=False) for channels in others
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for _, n_out in others)
        self.labels, outputs = projection(num_classes, hidden[-1])
        self.last = nn.Conv2d(hidden[-1], outputs, smallest)
        initialize(self, scales_vary=True)

    def forward(self, samples: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits ``[N, 1]`` of samples and, of classes, labels int64 ``[N]``; positive means real."""
        map: Tensor = self.first(samples)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            map = bias_leaky_relu(norm(convolution(map)))
        return judged(self.labels, self.last(map).flatten(1), y)


def dcgan_widths(sample_shape: Sequence[int], first: int = 64) -> tuple[int, ...]:
    """Channels of D's maps for an image, such as 64, 128, 256, 512 for 64 x 64 pixels, as published.

    Args:
        sample_shape: shape of one image, ``(C, H, W)``.
        first: channels of the map of half the image's size; each smaller map has twice as many.

    Raises:
        ValueError: if the image cannot be halved down to a shorter side of 3 to 7 pixels.
    """
    halvings, shorter = 0, min(sample_shape[1:])
    while shorter > _SMALLEST + 1 and all(side % 2 ** (halvings + 1) == 0 for side in sample_shape[1:]):
        halvings, shorter = halvings + 1, shorter // 2
    if halvings == 0 or not _SMALLEST <= shorter <= _LARGEST:
        raise ValueError(
            f"images of {_size(sample_shape)} cannot be halved down to {_SMALLEST} to {_LARGEST} pixels a "
            "side; resize them (photos: --size) to 28, 32, 48, 64, 96 or 128"
        )
    return tuple(first * 2**i for i in range(halvings))


def smallest_map(sample_shape: Sequence[int], hidden: Sequence[int]) -> tuple[int, int]:
    """Height and width of an image ``(C, H, W)`` after one halving for each of ``hidden``.

    Raises:
        ValueError: if it cannot be halved so often, or ``hidden`` is empty.
    """
    check_hidden(hidden)
    _, height, width = sample_shape
    divisor = 2 ** len(hidden)
    if height % divisor or width % divisor:
        raise ValueError(
            f"images of {_size(sample_shape)} cannot be halved {len(hidden)} times, once for each of the "
            f"maps {list(hidden)}; resize them (photos: --size) to multiples of {divisor}, or give fewer maps"
        )
    return height // divisor, width // divisor


def _size(sample_shape: Sequence[int]) -> str:
    return f"{sample_shape[1]} x {sample_shape[2]} pixels"
