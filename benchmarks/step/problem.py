"""The networks, data and settings that all contenders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
    """Sizes, kind of update, and R1's gamma (0: none; else a penalty in every step)."""

    batch: int
    width: int
    simultaneous: bool
    r1_gamma: float = 0.0

    def __str__(self) -> str:
        kind = "simultaneous" if self.simultaneous else "alternating"
        return f"{kind}{', R1' if self.r1_gamma else ''}, batch {self.batch:,}, {self.width:,} wide"

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

    def flops(self) -> int:
        """The floating-point operations of a step's matrix products, without unused gradients."""
        g, d = ([k * m for k, m in pairwise(sizes)] for sizes in (self.generator, self.discriminator))
        passes_of_g = 1 if self.simultaneous else 2
        of_g = passes_of_g * sum(g) + sum(g) + sum(g[1:])
        of_d = 2 * (sum(d) + sum(d) + sum(d[1:]))
        to_g = d[0] if self.simultaneous else 2 * sum(d)
        of_r1 = 2 * sum(d) + sum(d[:-1]) if self.r1_gamma else 0  # d D / dx, and its backward
        return 2 * self.batch * (of_g + of_d + to_g + of_r1)

    def data(self, device: str) -> Tensor:
        """Samples of a random one-layer generator, so that neither player wins during the benchmark."""
        return _samples().to(device)


@cache
def _samples() -> Tensor:
    rng = torch.Generator().manual_seed(1)
    hidden = torch.randn(SAMPLES, LATENT_DIM, generator=rng)
    return torch.tanh(hidden @ torch.randn(LATENT_DIM, SAMPLE_DIM, generator=rng) / 4)


class Contender(Protocol):
    steps_a_run: int

    def step(self, real: Tensor, first: Tensor, second: Tensor) -> None:
        """One update. ``second`` is the generator's latent batch; simultaneous updates do not use it."""

    def run(self) -> None:
        """``steps_a_run`` updates that draw their own samples and latent vectors."""

    def finish(self) -> object:
        """Waits for the device."""

    def weights(self) -> list[Tensor]:
        """Weight and bias of each layer of G, then of D, on the CPU."""
