"""The networks of Goodfellow et al., 2014, for MNIST, as in their published configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastgan.models.maxout import Maxout

_PIECES = 5
_RANGE_G = 0.05  # initial weights are uniform in [-range, range]; biases are 0
_RANGE_D = 0.005


class GoodfellowGenerator(nn.Module):
    """ReLU layers from a latent vector to the intensities of an image, with a final sigmoid.

    Args:
        latent_dim: size of the latent vector.
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: widths of the hidden layers.
    """

    def __init__(self, latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.sample_shape = tuple(sample_shape)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([latent_dim, *hidden]):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([latent_dim, *hidden][-1], math.prod(sample_shape)))
        _initialize(self, _RANGE_G)

    def forward(self, latent: Tensor) -> Tensor:
        """Generate ``[N, *sample_shape]`` in [-1, 1] from ``[N, latent_dim]``."""
        intensities = torch.sigmoid(self.layers(latent))
        return (2 * intensities - 1).reshape(-1, *self.sample_shape)


class GoodfellowDiscriminator(nn.Module):
    """Maxout layers of five pieces on intensities in [0, 1], with dropout of pixels and units.

    Args:
        sample_shape: shape of one sample, ``(C, H, W)``.
        hidden: widths of the maxout layers.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [math.prod(sample_shape), *hidden]
        layers: list[nn.Module] = [nn.Dropout(0.2)]
        for n_in, n_out in pairwise(widths):
            layers += [Maxout(n_in, n_out, _PIECES), nn.Dropout(0.5)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        _initialize(self, _RANGE_D)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits ``[N, 1]`` of samples ``[N, *sample_shape]`` in [-1, 1]; positive means real."""
        logits: Tensor = self.layers((samples.flatten(1) + 1) / 2)
        return logits


def _initialize(network: nn.Module, reach: float) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -reach, reach)
            nn.init.zeros_(layer.bias)
