"""Draws rows from a trained generator of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fastgan.kernels.spans import Spans
from fastgan.models.ctgan import CTGANGenerator
from fastgan.tabular.encoding import encoded_of
from fastgan.tabular.transform import TableTransform
from fastgan.training.config import Latent
from fastgan.training.table_sampling import BLOCK, BLOCKS, sampler_of
from fastgan.training.table_source import ascending, cumulative_shares

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

        Always in whole blocks, so that the first rows of a seed do not depend on how many are drawn: products
        of fewer rows may be rounded differently.

        Raises:
            TableError: if a condition is on no discrete column, or its value was never seen.
        """
        fixed = [self.transform.code_of(*each) for each in conditions.items()]
        sampler = sampler_of(self.generator, self.latent, self._shares(fixed), seed)
        for begin in range(0, count, BLOCKS * BLOCK):
            rows = min(count - begin, BLOCKS * BLOCK)
            drawn = sampler.draw(begin // BLOCK, -(-rows // BLOCK))
            encoded = encoded_of(*(each[:rows] for each in drawn))
            for place, code in fixed:
                encoded.codes[:, self.transform.conditions[place]] = code
            yield self.transform.decode(encoded, seed=int(np.uint64(seed) ^ np.uint64(begin)))

    def _shares(self, fixed: list[tuple[int, int]]) -> Tensor | None:
        """Cumulative shares of the conditions: the given ones equally often, else as in the table."""
        spans = self.generator.spans
        cumulative = cumulative_shares(self.counts, spans)
        if fixed:
            shares = torch.zeros_like(self.counts)
            shares[[first_of(spans, place) + code for place, code in fixed]] = 1 / len(fixed)
            cumulative = ascending(shares)
        return None if cumulative is None else cumulative.to(self.generator.last.weight.device)


def first_of(spans: Spans, place: int) -> int:
    """The number of the first condition of a discrete column."""
    return sum(spans.sizes[i] for i in spans.conditions[:place])
