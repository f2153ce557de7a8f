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
from fastgan.tabular.transform import TableTransform
from fastgan.training.config import Latent
from fastgan.training.draws import GeneratorDraws
from fastgan.training.latent import draw_latent
from fastgan.training.table_source import cumulative_shares

BATCH = 5_000
"""Rows generated at once. Samples of a seed depend on it, not on the size of chunks."""

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
        """Generate ``count`` rows in frames of at most ``BATCH``.

        Rows without given conditions have those of the real table, each column equally often. Given ones hold
        for every row: the generator is conditioned on them, on one of several at random, and the columns are
        set to these values.

        Raises:
            TableError: if a condition is on no discrete column, or its value was never seen.
        """
        fixed = [self.transform.code_of(*each) for each in conditions.items()]
        rng = torch.Generator().manual_seed(seed)
        for begin in range(0, count, BATCH):
            # whole batches, so that the first rows of a seed do not depend on how many are drawn
            drawn = self._batch(fixed, rng)
            encoded = encoded_of(drawn[: count - begin], self.generator.spans)
            for place, code in fixed:
                encoded.codes[:, self.transform.conditions[place]] = code
            yield self.transform.decode(encoded, seed=int(np.uint64(seed) ^ np.uint64(begin)))

    @torch.no_grad()
    def _batch(self, fixed: list[tuple[int, int]], rng: torch.Generator) -> Tensor:
        generator, draws = self.generator, GeneratorDraws(rng)
        like = generator.last.weight
        latent = draw_latent((BATCH, generator.latent_dim), self.latent, draws)
        uniform, noise = draws.uniform((BATCH,)), draws.uniform((BATCH, generator.spans.width))
        chosen = self._conditions(fixed, uniform)
        rows: Tensor = generator(
            latent.to(like), None if chosen is None else chosen.to(like.device), noise.to(like.device)
        )
        return rows

    def _conditions(self, fixed: list[tuple[int, int]], uniform: Tensor) -> Tensor | None:
        """int64 ``[BATCH]``: one of the given conditions for each row or, without any, as in the table."""
        spans = self.generator.spans
        if fixed:
            numbers = torch.tensor([first_of(spans, place) + code for place, code in fixed])
            return numbers[(uniform * len(fixed)).long()]
        cumulative = cumulative_shares(self.counts, spans)
        return None if cumulative is None else choose(uniform).draw_conditions(uniform, cumulative)


def first_of(spans: Spans, place: int) -> int:
    """The number of the first condition of a discrete column."""
    return sum(spans.sizes[i] for i in spans.conditions[:place])
