"""What every contender trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

LATENT_DIM, SAMPLE_DIM = 64, 784
LEARNING_RATE, BETAS, EPS, SLOPE = 2e-4, (0.5, 0.999), 1e-8, 0.2
SAMPLES = 20_000
Weights = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Problem:
    """Sizes of one contest, in one kind of update."""

    batch: int
    width: int
    simultaneous: bool

    @property
    def generator(self) -> list[int]:
        return [LATENT_DIM, self.width, self.width, SAMPLE_DIM]

    @property
    def discriminator(self) -> list[int]:
        return [SAMPLE_DIM, self.width, self.width, 1]

    def weights(self) -> tuple[Weights, Weights]:
        rng = torch.Generator().manual_seed(0)

        def layers(features: Sequence[int]) -> Weights:
            return [
                (torch.randn(m, k, generator=rng) * (2 / k) ** 0.5, torch.randn(m, generator=rng) * 0.01)
                for k, m in pairwise(features)
            ]

        return layers(self.generator), layers(self.discriminator)

    def data(self, device: str) -> Tensor:
        """Samples of another generator of the same kind: neither player wins while it is timed."""
        rng = torch.Generator().manual_seed(1)
        hidden = torch.randn(SAMPLES, LATENT_DIM, generator=rng)
        return torch.tanh(hidden @ torch.randn(LATENT_DIM, SAMPLE_DIM, generator=rng) / 4).to(device)


class Contender(Protocol):
    def step(self, real: Tensor, first: Tensor, second: Tensor) -> None:
        """One update; ``second`` is for the generator's turn, and left alone in simultaneous updates."""

    def run(self) -> None:
        """One update that draws what it needs."""

    def finish(self) -> None:
        """Wait for all that is under way."""

    def weights(self) -> list[Tensor]:
        """Of G, then of D: weight and bias, layer by layer, on the CPU."""
