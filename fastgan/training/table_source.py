"""Batches of rows of an encoded table, drawn by condition ("training by sampling")."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.kernels.spans import Spans, Table
from fastgan.training.state import TrainingState

ENTROPY = "condition_entropy"
"""Cross-entropy of the conditions in G's rows, before noise: 0 if each row has its condition."""


class TableSource:
    """An encoded table on the device as a source of real rows.

    A condition is a value of a discrete column. For a batch the column of each row is drawn evenly, its value
    by the logarithm of its frequency, so that rare values are seen, and then one of the rows with this value
    (Xu et al. 2019, arXiv:1907.00503, section 4.3). D sees a row with its condition: ``[N, D + C]``.

    Args:
        table: the encoded table, on the device.
        log_frequency: whether values are drawn by the logarithm of their frequency, or by the frequency.

    Attributes:
        labels: int64, conditions of the rows given last, for the generator; None if there are none.
        cumulative: cumulative shares by which conditions are drawn, float64 ``[C]``; None without conditions.
        statistics: names of the statistics that the generation of rows adds to a step's.
    """

    dtype = torch.float32

    def __init__(self, table: Table, *, log_frequency: bool = True) -> None:
        self.table = table
        self.labels: Tensor | None = None
        self.statistics: tuple[str, ...] = (ENTROPY,) if table.spans.conditions else ()
        counts = table.starts.diff().double()
        self._observed = cumulative_shares(counts, table.spans)
        self.cumulative = cumulative_shares(counts.log1p() if log_frequency else counts, table.spans)

    def prepare(self, state: TrainingState) -> None:
        pass

    def conditions(self, state: TrainingState, turns: int) -> Tensor | None:
        """Draw this process's conditions for so many turns: int64 ``[turns * share]``."""
        if self.cumulative is None:
            return None
        uniform = state.draws.uniform((turns, state.share)).flatten()
        return choose(uniform).draw_conditions(uniform, self.cumulative)

    def rows(self, conditions: Tensor | None, uniform: Tensor) -> Tensor:
        """Real rows ``[N, D + C]``, each drawn by a number in [0, 1) among those with its condition."""
        spans = self.table.spans
        into = uniform.new_empty(len(uniform), spans.width + spans.num_conditions)
        choose(into).table_batch(self.table, conditions, uniform, into)
        return into

    def batch(self, state: TrainingState, turn: int, into: Tensor | None = None) -> Tensor:
        self.labels = self.conditions(state, 1)
        drawn = self.rows(self.labels, state.uniform(state.share))
        return drawn if into is None else into.copy_(drawn)

    def look(self, count: int, rng: torch.Generator) -> Tensor:
        uniform = torch.rand(2, count, generator=rng, device=rng.device, dtype=torch.float32)
        if self._observed is not None:
            self.labels = choose(uniform).draw_conditions(uniform[0], self._observed)
        return self.rows(self.labels, uniform[1])

    def close(self) -> None:
        pass


def cumulative_shares(weights: Tensor, spans: Spans) -> Tensor | None:
    """Cumulative shares of all conditions, float64 ``[C]``; None without conditions.

    Each discrete column has the same share, which its conditions divide by their weights.

    Args:
        weights: float64 ``[C]``, not negative.
        spans: the table's columns.
    """
    if not spans.conditions:
        return None
    parts = weights.split([spans.sizes[i] for i in spans.conditions])
    shares = torch.cat([part / part.sum() for part in parts]) / len(parts)
    return ascending(shares)


def ascending(shares: Tensor) -> Tensor:
    """Cumulative shares of shares, float64 ``[C]``."""
    cumulative = shares.cumsum(0)
    cumulative /= cumulative[-1].clone()  # exactly 1 at the end
    return cumulative
