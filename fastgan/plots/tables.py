"""Draws a synthetic table against the real one: distributions of columns, and relations of pairs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from fastgan.plots.figure import GENERATED, GUIDE, REAL, new_figure, open_axes, save_figure

if TYPE_CHECKING:
    from fastgan.tabular.quality.histograms import Histogram

_MOST = 40  # columns whose distributions are drawn
_ACROSS = 5
_PANEL = 2.4, 1.8  # inches
_MAPS = 5.0
_NAME = 22  # characters of a name
_BARS = 20
_NAMED = 40  # columns whose names fit next to a map


def save_tables(
    path: str | Path, histograms: Sequence[Histogram], columns: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    """Write the picture; of many columns, the distributions of those with the lowest scores.

    Args:
        path: file to write; the suffix determines the format, as in matplotlib.
        histograms: distributions of the columns.
        columns: figures of the columns, by :func:`fastgan.tabular.quality.marginals`.
        pairs: figures of the pairs, by :func:`fastgan.tabular.quality.pairs`.
    """
    scores = dict(zip(columns["column"], columns["score"], strict=True))
    lowest = sorted(scores, key=lambda name: (math.isnan(scores[name]), scores[name]))[:_MOST]
    drawn = [each for each in histograms if each.name in lowest]
    rows = math.ceil(len(drawn) / _ACROSS)
    has_pairs = len(pairs) > 0
    figure = new_figure(_ACROSS * _PANEL[0], rows * _PANEL[1] + has_pairs * _MAPS + 0.8)
    heights = [rows * _PANEL[1], _MAPS] if has_pairs else [1]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    panels = parts[0].subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes, each in zip(panels, drawn, strict=False):
        _draw_histogram(axes, each, scores[each.name])
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    some = f": {len(drawn)} of {len(histograms)} columns, those with the lowest scores"
    title = "Shares of rows, real (filled) and synthetic (line)"
    parts[0].suptitle(title + (some if len(drawn) < len(histograms) else ""), fontweight="bold")
    if has_pairs:
        _draw_maps(parts[1], [each.name for each in histograms], pairs)
    save_figure(figure, path)


def _draw_histogram(axes: Axes, histogram: Histogram, score: float) -> None:
    bars = len(histogram.real)
    edges = np.arange(bars + 1) - 0.5 if histogram.edges is None else histogram.edges
    axes.stairs(histogram.real, edges, fill=True, color=REAL, alpha=0.45)
    axes.stairs(histogram.synthetic, edges, baseline=None, color=GENERATED, linewidth=1.3)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{_short(histogram.name)}  {score:.3f}", fontsize=8.5, parse_math=False)
    axes.tick_params(labelsize=7)
    if histogram.edges is None:
        axes.set_xticks(range(bars), [_short(label, 14) for label in histogram.labels], parse_math=False)
        if bars > 3:
            axes.tick_params(axis="x", rotation=60)
    elif histogram.unit == "date":
        locator = AutoDateLocator(minticks=2, maxticks=5)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    else:
        axes.locator_params(axis="x", nbins=4)
        if histogram.unit:
            axes.set_xlabel(histogram.unit, fontsize=7)
    open_axes(axes)


def _draw_maps(figure: Figure | SubFigure, names: Sequence[Hashable], pairs: pd.DataFrame) -> None:
    real, synthetic = (_matrix(names, pairs, which) for which in ("real", "synthetic"))
    maps = {"real": real, "synthetic": synthetic, "synthetic − real": synthetic - real}
    panels = figure.subplots(1, len(maps))
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        cells = axes.pcolormesh(values, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
        axes.set(title=title, box_aspect=1, facecolor="#dee2e6")  # grey where undefined
        axes.invert_yaxis()
        axes.set(xticks=[], yticks=[])
    if len(names) <= _NAMED:
        places, labels = np.arange(len(names)) + 0.5, [_short(name) for name in names]
        panels[0].set_yticks(places, labels, fontsize=7, parse_math=False)
        for axes in panels:
            axes.set_xticks(places, labels, fontsize=7, rotation=90, parse_math=False)
    figure.colorbar(cells, ax=panels, shrink=0.8)
    figure.suptitle("Correlations, and Cramér's V where a column is discrete", fontweight="bold")


def draw_scores(axes: Axes, columns: pd.DataFrame) -> None:
    """Draw the scores of columns as bars, or of many columns the lowest.

    Args:
        axes: where to draw.
        columns: figures of the columns, by :func:`fastgan.tabular.quality.marginals`.
    """
    lowest = columns.sort_values("score").head(_BARS)[::-1]
    names = [_short(name) for name in lowest["column"]]
    axes.barh(range(len(lowest)), lowest["score"], color=GENERATED)
    axes.set_yticks(range(len(lowest)), names, fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), xlabel="KS or TV complement; 1 if both tables have the same distribution")
    shown = f"{len(lowest)} of {len(columns)} columns" if len(lowest) < len(columns) else "Columns"
    axes.set_title(f"{shown}: mean {columns['score'].mean():.3f}")
    open_axes(axes)


def draw_pair_scores(axes: Axes, pairs: pd.DataFrame) -> None:
    """Draw how each pair of columns is related in the synthetic table against the real one.

    Args:
        axes: where to draw.
        pairs: figures of the pairs, by :func:`fastgan.tabular.quality.pairs`.
    """
    axes.plot([-1, 1], [-1, 1], color=GUIDE, linewidth=1)
    axes.scatter(pairs["real"], pairs["synthetic"], s=12, color=GENERATED, alpha=0.6)
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), xlabel="real table", ylabel="synthetic table")
    axes.set_title("Pairs of columns: correlation, or Cramér's V")
    axes.set_box_aspect(1)
    open_axes(axes)


def _matrix(names: Sequence[Hashable], pairs: pd.DataFrame, which: str) -> NDArray[np.float64]:
    """Correlations or associations ``[columns, columns]``, NaN on the diagonal."""
    place = {name: number for number, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), np.nan)
    first, second = (pairs[end].map(place).to_numpy() for end in ("first", "second"))
    matrix[first, second] = matrix[second, first] = pairs[which]
    return matrix


def _short(name: object, length: int = _NAME) -> str:
    text = str(name)
    return text if len(text) <= length else text[: length - 1] + "…"
