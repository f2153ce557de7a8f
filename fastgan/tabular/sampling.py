"""Draws rows from a trained generator of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from fastgan.tabular.transform import Encoded, TableTransform
from fastgan.training.config import Latent
from fastgan.training.draws import GeneratorDraws
from fastgan.training.latent import draw_latent
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
        rng = torch.Generator().manual_seed(seed)
        for begin in range(0, count, _CHUNK):
            sizes = [min(_BLOCK, count - at) for at in range(begin, min(begin + _CHUNK, count), _BLOCK)]
            blocks = [encoded_of(self._block(fixed, rng)[:size], self.generator.spans) for size in sizes]
            encoded = Encoded(*map(np.concatenate, zip(*blocks, strict=True)))
            for place, code in fixed:
                encoded.codes[:, self.transform.conditions[place]] = code
            yield self.transform.decode(encoded, seed=int(np.uint64(seed) ^ np.uint64(begin)))

    @torch.no_grad()
    def _block(self, fixed: list[tuple[int, int]], rng: torch.Generator) -> Tensor:
        """Generate ``[_BLOCK, D + C]``.

        Always a whole block, so that the first rows of a seed do not depend on how many are drawn: products
        of fewer rows are rounded differently.
        """
        generator, draws = self.generator, GeneratorDraws(rng)
        device = generator.last.weight.device
        latent = draw_latent((_BLOCK, generator.latent_dim), self.latent, draws)
        uniform, noise = draws.uniform((_BLOCK,)), draws.uniform((_BLOCK, generator.spans.width))
        chosen = self._conditions(fixed, uniform)
        rows: Tensor = generator(
            latent.to(device), None if chosen is None else chosen.to(device), noise.to(device)
        )
        return rows

    def _conditions(self, fixed: list[tuple[int, int]], uniform: Tensor) -> Tensor | None:
        """int64 ``[_BLOCK]``: one of the given conditions for each row or, without any, as in the table."""
        spans = self.generator.spans
        if fixed:
            numbers = torch.tensor([first_of(spans, place) + code for place, code in fixed])
            return numbers[(uniform * len(fixed)).long()]
        cumulative = cumulative_shares(self.counts, spans)
        return None if cumulative is None else choose(uniform).draw_conditions(uniform, cumulative)


def first_of(spans: Spans, place: int) -> int:
    """The number of the first condition of a discrete column."""
    return sum(spans.sizes[i] for i in spans.conditions[:place])
