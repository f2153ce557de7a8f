"""Draws rows of an encoded table from a trained generator."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.cpu import Cpu
from fastgan.models.ctgan import CTGANGenerator
from fastgan.training.config import Latent
from fastgan.training.draws import CounterDraws
from fastgan.training.latent import draw_latent
from fastgan.training.recording.table_networks import TableGenerator, table_generator_of
from fastgan.training.recording.table_sampler import RecordedTableSampler
from fastgan.training.table_generation import DirectPass

BLOCK = 500
"""Rows that pass through the generator together. Their numbers depend on the seed and the block."""
BLOCKS = 10
"""The most blocks that a sampler draws at once."""


class TableSampler(Protocol):
    """Draws blocks of rows; a softmax span counts as the column where it is largest."""

    def draw(self, first: int, blocks: int) -> tuple[Tensor, Tensor]:
        """Draw blocks ``first`` to ``first + blocks - 1``; ``first`` is a multiple of ``BLOCKS``.

        Returns:
            Codes, integers ``[rows, softmax spans]``, and values, float32 ``[rows, tanh spans]``, which are
            valid until the next call.
        """


def sampler_of(
    generator: CTGANGenerator, latent: Latent, cumulative: Tensor | None, seed: int
) -> TableSampler:
    """A sampler: a recording where the C++ kernels compute, else passes.

    Args:
        generator: in evaluation mode.
        latent: distribution of latent vectors.
        cumulative: float64 ``[C]``, cumulative shares of the conditions; None for a table without any.
        seed: seed of the random numbers.
    """
    network = table_generator_of(generator, training=False)
    if isinstance(network, TableGenerator) and type(choose(generator.last.weight)) is Cpu:
        return RecordedTableSampler(network, latent, cumulative, seed, BLOCK, BLOCKS)
    return PassSampler(generator, latent, cumulative, seed)


class PassSampler:
    """Passes of a generator on any device; the arguments are those of :func:`sampler_of`."""

    def __init__(
        self, generator: CTGANGenerator, latent: Latent, cumulative: Tensor | None, seed: int
    ) -> None:
        self._generator, self._latent, self._cumulative = generator, latent, cumulative
        self._clock = torch.zeros(1, dtype=torch.int64, device=generator.last.weight.device)
        self._draws = CounterDraws(seed, self._clock)

    def draw(self, first: int, blocks: int) -> tuple[Tensor, Tensor]:
        rows = torch.cat([self._block(number) for number in range(first, first + blocks)])
        spans = self._generator.spans
        parts = rows[:, : spans.width].split(spans.sizes, 1)
        codes = [part.argmax(1) for part in parts if part.shape[1] > 1]
        values = [part.squeeze(1) for part in parts if part.shape[1] == 1]
        none = rows.new_empty(len(rows), 0)
        return torch.stack(codes, 1) if codes else none, torch.stack(values, 1) if values else none

    def _block(self, number: int) -> Tensor:
        """Generate ``[BLOCK, D + C]``."""
        self._clock.fill_(number)
        draws, width = self._draws, self._generator.spans.width
        draws.begin_step(False)
        latent = draw_latent((1, BLOCK, self._generator.latent_dim), self._latent, draws)[0]
        uniform, noise = draws.uniform((1, BLOCK))[0], draws.uniform((1, BLOCK, width))[0]
        conditions = None
        if self._cumulative is not None:
            conditions = choose(uniform).draw_conditions(uniform, self._cumulative)
        return DirectPass(self._generator, latent, conditions, noise).rows
