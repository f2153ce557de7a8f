"""Tables and picture of experiments.began, from its stored results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

from experiments import markdown
from fastgan.plots.figure import GUIDE, new_figure, open_axes, save_figure
from fastgan.plots.samples import draw_images

PIXELS = {"mnist": (28, 28), "digits": (8, 8)}
"""Height and width of an image, by data set."""

_START_UP = 0.1  # share of a run that "k at 0" ignores
_EARLY = 1_000  # steps in the panel of the start
_SHEETS_PER_ROW = 6


@dataclass(frozen=True)
class Curves:
    """A run to draw: the rows of its log, and its γ, the target of the ratio of losses."""

    rows: list[dict[str, float]]
    gamma: float


_QUALITY = ("modes covered", "JSD", "Fréchet distance", "recall", "coverage")


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """The share of steps with k at 0, final means of k, the losses and their ratio, and sample quality."""
    quality = {name: result[name] for name in _QUALITY if name in result}
    rows = result["rows"]
    if not rows:
        return quality
    settled = rows[int(_START_UP * len(rows)) :]
    last = rows[-max(1, len(rows) // 10) :]
    return {
        "k at 0": sum(row["k"] == 0 for row in settled) / len(settled),
        "k": statistics.fmean(row["k"] for row in last),
        "ratio": statistics.fmean(row["loss_G"] / row["L(x)"] for row in last),
        "L(x)": statistics.fmean(row["L(x)"] for row in last),
        "M": statistics.fmean(row["M"] for row in last),
        "diversity": statistics.fmean(row["diversity"] for row in last),
        **quality,
    }


_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "k at 0": ("k at 0", lambda share: f"{100 * share:.0f} %"),
    "k": ("k", "{:.3g}".format),
    "ratio": ("L(G(z)) / L(x)", "{:.3g}".format),
    "L(x)": ("L(x)", "{:.3g}".format),
    "M": ("M", "{:.3g}".format),
    "diversity": ("diversity", "{:.3g}".format),
    "modes covered": ("classes", "{:.3g}".format),
    "JSD": ("JSD", "{:.3g}".format),
    "Fréchet distance": ("Fréchet distance", "{:,.0f}".format),
    "recall": ("recall", "{:.3f}".format),
    "coverage": ("coverage", "{:.3f}".format),
}
"""By key of a summary: title in the table, and format."""


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table per data set, with a row per setting: means over the seeds."""
    titles = ["setting", *(title for title, _ in _COLUMNS.values())]
    return [
        markdown.table(titles, ([name, *_cells(seeds)] for name, seeds in result[data].items()))
        for data in PIXELS
        if data in result
    ]


def _cells(seeds: list[dict[str, float]]) -> list[str]:
    return [
        written(statistics.fmean(seed[column] for seed in seeds)) if column in seeds[0] else "–"
        for column, (_, written) in _COLUMNS.items()
    ]


def draw(path: Path, groups: Mapping[str, Mapping[str, Curves]], sheets: Mapping[str, Tensor]) -> None:
    """Draw the curves of each group of settings, and below them samples of each setting."""
    rows = len(groups), -(-len(sheets) // _SHEETS_PER_ROW)
    heights = 2.4 * rows[0], 2.0 * rows[1]
    figure = new_figure(12, sum(heights))
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    curves = grid[0].subgridspec(rows[0], 3).subplots(squeeze=False)
    for axes, (title, runs) in zip(curves, groups.items(), strict=True):
        _draw_balance(axes, title, runs)
    panels = grid[1].subgridspec(rows[1], _SHEETS_PER_ROW).subplots(squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, (title, images) in zip(panels, sheets.items(), strict=False):
        draw_images(panel, images, title)
        panel.title.set_fontsize(8)
    save_figure(figure, path)


def _draw_balance(panels: Sequence[Axes], title: str, runs: Mapping[str, Curves]) -> None:
    """Draw k and the ratio of the losses over the steps, with lines at each γ."""
    first, whole, ratio = panels
    gammas = [curves.gamma for curves in runs.values()]
    shared = {gamma for gamma in gammas if gammas.count(gamma) > 1}
    for name, curves in runs.items():
        steps = [row["step"] for row in curves.rows]
        k = [row["k"] for row in curves.rows]
        (line,) = first.plot(steps, k, linewidth=1.3, marker=".", markersize=4)
        color = line.get_color()
        whole.plot(steps, k, color=color, linewidth=1.3)
        ratios = [row["loss_G"] / row["L(x)"] for row in curves.rows]
        ratio.plot(steps, ratios, color=color, label=name, linewidth=1.3)
        goal = GUIDE if curves.gamma in shared else color
        ratio.axhline(curves.gamma, color=goal, linestyle="--", linewidth=1)
    for panel, label in zip(panels, ("k at first", "k", "L(G(z)) / L(x)"), strict=True):
        panel.set_title(f"{title}: {label}", fontsize=10)
        panel.set_ylim(bottom=0)
        panel.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        open_axes(panel)
    first.set_yscale("symlog", linthresh=1e-3)
    first.set(xlim=(0, _EARLY), ylim=(-1e-4, 1))
    ratio.set(ylim=(0, 1.5))
    ratio.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
