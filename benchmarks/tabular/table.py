"""The tables of benchmarks/bench_tabular.py.

Needs numpy and pandas only, as ctgan's environment imports it too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

_FACTORS = 3  # the columns are correlated by as many normal factors
_LEVELS = (2, 3, 5, 12, 40)  # the numbers of categories that columns have
Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


def make_table(rows: int, columns: int, seed: int = 0) -> tuple[pd.DataFrame, list[str]]:
    """A table without missing values: of ten columns, four are continuous, two integers, four categories.

    Args:
        rows: the number of rows.
        columns: the number of columns.
        seed: the same seed, rows and columns make the same table.

    Returns:
        The table, and the names of its columns of categories.
    """
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((rows, _FACTORS))
    made: dict[str, object] = {}
    for column in range(columns):
        kind = _KINDS[column % len(_KINDS)]
        weights = rng.standard_normal(_FACTORS + 1)
        noise = rng.standard_normal(rows)
        score = np.column_stack([factors, noise]) @ (weights / np.linalg.norm(weights))
        made[f"{kind.__name__.strip('_')} {column}"] = kind(score, rng)
    frame = pd.DataFrame(made)
    return frame, [name for name in frame if str(name).startswith("category")]


def _skewed(score: Numbers, rng: np.random.Generator) -> object:
    return np.exp(rng.uniform(0.5, 1.5) * score)


def _modes(score: Numbers, rng: np.random.Generator) -> object:
    """Two to five normal modes; the score decides which."""
    centers = np.sort(rng.uniform(-20, 20, rng.integers(2, 6)))
    edges = np.quantile(score, np.linspace(0, 1, len(centers) + 1)[1:-1])
    return centers[np.searchsorted(edges, score)] + rng.standard_normal(len(score))


def _bounded(score: Numbers, rng: np.random.Generator) -> object:
    return 100 / (1 + np.exp(-rng.uniform(0.5, 2) * score))


def _count(score: Numbers, rng: np.random.Generator) -> object:
    return rng.poisson(np.exp(0.5 * score + rng.uniform(0, 4)))


def _category(score: Numbers, rng: np.random.Generator) -> object:
    """Categories whose frequencies fall as 1 / number, chosen by the score with some noise."""
    frequencies = 1 / np.arange(1, rng.choice(_LEVELS) + 1)
    noisy = score + 0.5 * rng.standard_normal(len(score))
    edges = np.quantile(noisy, np.cumsum(frequencies / frequencies.sum())[:-1])
    return np.char.add("level ", np.searchsorted(edges, noisy).astype(str)).astype(object)


_Kind = Callable[[Numbers, np.random.Generator], object]
_KINDS: tuple[_Kind, ...] = (
    *(_skewed, _category, _modes, _count, _category),
    *(_bounded, _category, _modes, _count, _category),
)
