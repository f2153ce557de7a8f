"""Compares generated rows with a table, at log points only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.kernels.spans import Spans
from fastgan.metrics import relative_diversity
from fastgan.training.state import TrainingState, packed
from fastgan.training.table_source import TableSource

_ROWS = 2_000
_SEED = 0  # the same latent vectors each time, so that values can be compared
_EXPECTED = 10  # rows with a value: by chance it is missing once in 20,000 times
_ALIKE = 0.01  # standard deviation of generated values, as a share of that of real ones


class TableDiagnostics:
    """Counts what the generated rows lack.

    Args:
        state: the state of training.
        source: the real rows.
    """

    def __init__(self, state: TrainingState, source: TableSource) -> None:
        self._state, self._spans = state, source.table.spans
        rng = torch.Generator(state.device).manual_seed(_SEED)
        self._real = source.look(_ROWS, rng)
        self._labels = source.labels
        self._latent = state.latent(_ROWS, rng)
        self._shares = _shares(self._real, self._spans) if self._spans.conditions else self._real.new_empty(0)
        self._constants = self._constant_values()

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Generate rows and wait for the device.

        Returns:
            Values by name. ``diversity``: as for :class:`fastgan.training.diagnostics.Diagnostics`.
            ``categories``: how many values of discrete columns should occur in 10 or more of the generated
            rows, and ``categories_covered``: how many of these do occur. ``numbers``: how many columns of
            numbers there are, and ``constant_numbers``: how many of these are the same in all rows.
            ``pack_distance``, for the critic of Wasserstein's distance: the mean distance of two real packs,
            which the difference of its mean logits cannot exceed by much while its slope is 1.
        """
        state, spans = self._state, self._spans
        fake = state.look(self._latent, self._labels, live=True)
        diversity = relative_diversity(fake, self._real)
        values = {} if diversity is None else {"diversity": diversity}
        if spans.conditions:
            covered = (self._shares * _ROWS >= _EXPECTED) & (_shares(fake, spans) > 0)
            values["categories_covered"] = float(covered.sum())
        if spans.num_values:
            alike = _numbers(fake, spans).std(0) < _ALIKE * _numbers(self._real, spans).std(0)
            values["constant_numbers"] = float(alike.sum())
        return values | self._constants

    def _constant_values(self) -> dict[str, float]:
        """Values that do not depend on the generator."""
        values = {}
        if self._spans.conditions:
            values["categories"] = float((self._shares * _ROWS >= _EXPECTED).sum())
        if self._spans.num_values:
            values["numbers"] = float(self._spans.num_values)
        config = self._state.config
        if config.objective == "wasserstein" and config.gp_weight > 0:
            packs = packed(self._real[: len(self._real) // (2 * config.pack) * 2 * config.pack], config.pack)
            first, second = packs.chunk(2)
            values["pack_distance"] = float((first - second).norm(dim=1).mean())
        return values


def _shares(rows: Tensor, spans: Spans) -> Tensor:
    """The share of rows with each condition, ``[C]``."""
    parts = rows[:, : spans.width].split(spans.sizes, 1)
    chosen = [F.one_hot(parts[i].argmax(1), spans.sizes[i]) for i in spans.conditions]
    return torch.cat(chosen, 1).float().mean(0)


def _numbers(rows: Tensor, spans: Spans) -> Tensor:
    """The tanh columns."""
    parts = rows[:, : spans.width].split(spans.sizes, 1)
    return torch.cat([part for part in parts if part.shape[1] == 1], 1)
