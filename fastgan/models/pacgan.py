"""The networks of PacGAN's experiments in the plane (Lin et al., 2018, appendix)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from fastgan.models.maxout import Maxout

_PIECES = 5
_SIGMA = 0.02  # standard deviation of initial weights; biases are 0
_MOMENTUM = 0.05  # of batch normalization's running statistics


class PacGANGenerator(nn.Sequential):
    """ReLU layers with batch normalization, from a latent vector to an unbounded sample.

    Args:
        latent_dim: size of the latent vector.
        sample_shape: shape of one sample.
        hidden: widths of the hidden layers.
    """

    def __init__(self, latent_dim: int, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([latent_dim, *hidden]):
            # batch normalization adds a bias
            layers += [
                nn.Linear(n_in, n_out, bias=False),
                nn.BatchNorm1d(n_out, momentum=_MOMENTUM),
                nn.ReLU(),
            ]
        last = nn.Linear([latent_dim, *hidden][-1], math.prod(sample_shape))
        super().__init__(*layers, last, nn.Unflatten(1, tuple(sample_shape)))
        self.apply(_initialize)


class PacGANDiscriminator(nn.Module):
    """Maxout layers of five pieces, from a pack of samples to its logit.

    Args:
        sample_shape: shape of a pack, whose first size is that of a sample times the number of samples.
        hidden: widths of the maxout layers.
    """

    def __init__(self, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [math.prod(sample_shape), *hidden]
        layers = [Maxout(n_in, n_out, _PIECES) for n_in, n_out in pairwise(widths)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        self.apply(_initialize)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits ``[N, 1]`` of samples ``[N, *sample_shape]``; positive means real."""
        logits: Tensor = self.layers(samples.flatten(1))
        return logits


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_SIGMA)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
