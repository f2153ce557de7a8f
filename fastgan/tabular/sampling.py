"""Draws rows from a trained generator of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.spans import Spans
from fastgan.models.ctgan import CTGANGenerator
from fastgan.tabular.encoding import encoded_of
from fastgan.tabular.transform import TableTransform
from fastgan.training.config import Latent
from fastgan.training.draws import CounterDraws
from fastgan.training.latent import draw_latent
from fastgan.training.table_generation import DirectPass
from fastgan.training.table_source import cumulative_shares

_BLOCK = 500  # rows that pass through the generator together
_CHUNK = 10 * _BLOCK  # rows of a frame

Conditions = Mapping[str | int, Any]


@dataclass(frozen=True)
class Rows:
    """A trained generator with what it takes to draw rows.

    Attributes:
        generator: in evaluation mode.
        transform: of the table that it was trained on.
        counts: float64 ``[C]``: rows of that table with each condition.
        latent: distribution of latent vectors.
    """

    generator: CTGANGenerator
    transform: TableTransform
    counts: Tensor
    latent: Latent

    def draw(self, count: int, conditions: Conditions, seed: int) -> Iterator[pd.DataFrame]:
        """Generate ``count`` rows in frames of at most 5,000.

        Rows without given conditions have those of the real table, each column equally often. Given ones hold
        for every row: the generator is conditioned on them, on one of several at random, and the columns are
        set to these values.

        Raises:
            TableError: if a condition is on no discrete column, or its value was never seen.
        """
        fixed = [self.transform.code_of(*each) for each in conditions.items()]
        spans, clock = self.generator.spans, torch.zeros(1, dtype=torch.int64, device=self._device)
        draws, conditions_of = CounterDraws(seed, clock), self._conditioner(fixed)
        for begin in range(0, count, _CHUNK):
            end = min(begin + _CHUNK, count)
            blocks = []
            for block in range(begin // _BLOCK, -(-end // _BLOCK)):
                clock.fill_(block)
                blocks.append(self._block(draws, conditions_of))
            encoded = encoded_of(torch.cat(blocks)[: end - begin], spans)
            for place, code in fixed:
                encoded.codes[:, self.transform.conditions[place]] = code
            yield self.transform.decode(encoded, seed=int(np.uint64(seed) ^ np.uint64(begin)))

    @property
    def _device(self) -> torch.device:
        return self.generator.last.weight.device

    def _block(self, draws: CounterDraws, conditions_of: Callable[[Tensor], Tensor | None]) -> Tensor:
        """Generate ``[_BLOCK, D + C]``.

        Always a whole block, so that the first rows of a seed do not depend on how many are drawn: products
        of fewer rows are rounded differently.
        """
        draws.begin_step(False)
        latent = draw_latent((1, _BLOCK, self.generator.latent_dim), self.latent, draws)[0]
        uniform, noise = (
            draws.uniform((1, _BLOCK))[0],
            draws.uniform((1, _BLOCK, self.generator.spans.width))[0],
        )
        return DirectPass(self.generator, latent, conditions_of(uniform), noise).rows

    def _conditioner(self, fixed: list[tuple[int, int]]) -> Callable[[Tensor], Tensor | None]:
        """A function from numbers in [0, 1), ``[N]``, to conditions, int64 ``[N]``.

        They are the given ones, each equally often, or without any as in the table.
        """
        spans, device = self.generator.spans, self._device
        if fixed:
            numbers = torch.tensor([first_of(spans, place) + code for place, code in fixed], device=device)
            return lambda uniform: numbers[(uniform * len(fixed)).long()]
        shares = cumulative_shares(self.counts, spans)
        if shares is None:
            return lambda uniform: None
        cumulative = shares.to(device)
        return lambda uniform: choose(uniform).draw_conditions(uniform, cumulative)


def first_of(spans: Spans, place: int) -> int:
    """The number of the first condition of a discrete column."""
    return sum(spans.sizes[i] for i in spans.conditions[:place])
