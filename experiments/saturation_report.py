"""Table and picture of experiments.saturation, from its stored results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from experiments import markdown
from fastgan.plots.figure import DISCRIMINATOR, GENERATOR, GUIDE, new_figure, open_axes, save_figure

_COLORS = {"saturating": DISCRIMINATOR, "non-saturating": GENERATOR}

Results = Sequence[Mapping[str, Any]]
"""For each seed the result of ``experiments.saturation.run``, by head start."""


def summary(results: Results) -> dict[str, Any]:
    """By head start: medians of D's certainty and of both gradients, and the steps to recover of each run."""
    return {
        head_start: {
            "median logit": _median(result[head_start]["median logit"] for result in results),
            "D(G(z))": _median(result[head_start]["D(G(z))"] for result in results),
            "gradient": {
                loss: _median(result[head_start]["gradient"][loss] for result in results) for loss in _COLORS
            },
            "recovered": {
                pair: [result[head_start]["runs"][pair]["recovered"] for result in results]
                for pair in first["runs"]
            },
        }
        for head_start, first in results[0].items()
    }


def tables(result: Mapping[str, Any]) -> list[str]:
    """The summary as a table with a row per head start."""
    rows = []
    for head_start, row in result["head starts"].items():
        gradients = [markdown.number(row["gradient"][loss]) for loss in _COLORS]
        steps = [_in_words(of) for of in row["recovered"].values()]
        rows.append([f"{int(head_start):,}", markdown.number(row["D(G(z))"]), *gradients, *steps])
    pairs = next(iter(result["head starts"].values()))["recovered"]
    titles = ["head start", "D(G(z))", *(f"gradient, {loss}" for loss in _COLORS), *pairs]
    return [markdown.table(titles, rows)]


def _median(values: Iterable[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


def _in_words(steps: Sequence[int | None]) -> str:
    """Median and range of the runs that recovered, and their number unless all did."""
    recovered = [step for step in steps if step is not None]
    if not recovered:
        return f"none of {len(steps)}"
    share = "" if len(recovered) == len(steps) else f", {len(recovered)} of {len(steps)}"
    return f"{statistics.median(recovered):,.0f} ({min(recovered):,}–{max(recovered):,}){share}"


def save_picture(path: Path, results: Results, limit: int, checked_every: int) -> None:
    """Draw gradients at the start, steps to recover, and gradients over time after the longest head start."""
    figure = new_figure(15, 5)
    gradients, recovery, traces = figure.subplots(1, 3)
    head_starts = list(results[0])
    _draw_gradients(gradients, results)
    _draw_recovery(recovery, results, limit)
    for axes in (gradients, recovery):
        axes.set(xlabel="steps that D trained alone", yscale="log")
        axes.set_xticks(range(len(head_starts)), [f"{int(head_start):,}" for head_start in head_starts])
    _draw_traces(traces, results, head_starts[-1], checked_every)
    for axes in (gradients, recovery, traces):
        open_axes(axes)
    save_figure(figure, path)


def _draw_gradients(axes: Axes, results: Results) -> None:
    for loss, color in _COLORS.items():
        columns = [[result[h]["gradient"][loss] for result in results] for h in results[0]]
        middles = [statistics.median(values) for values in columns]
        for place, values in enumerate(columns):
            axes.plot([place] * len(values), values, ".", color=color, alpha=0.5)
        axes.plot(middles, color=color, linewidth=1.8)
        axes.text(len(columns) - 2, 3 * middles[-2], loss, color=color)
    axes.set(title="The better D is, the less the saturating loss sends.", ylim=(3e-5, 3e2))
    axes.set(ylabel="gradient that reaches G, RMS of |dl/dx|")


def _draw_recovery(axes: Axes, results: Results, limit: int) -> None:
    never = 2 * limit
    pairs = list(next(iter(results[0].values()))["runs"])
    for row, pair in enumerate(pairs):
        optimizer, loss = pair.split(", ")
        marker = "o" if optimizer == "adam" else "^"
        for place, head_start in enumerate(results[0]):
            runs = [result[head_start]["runs"][pair]["recovered"] for result in results]
            heights = [never if steps is None else steps for steps in runs]
            left = place + (row - (len(pairs) - 1) / 2) * 0.2
            across = [left + 0.12 * (i / len(runs) - 0.5) for i in range(len(runs))]
            label = pair if place == 0 else None
            axes.plot(across, heights, marker, color=_COLORS[loss], alpha=0.7, label=label, markersize=5)
    axes.axhline(never, color=GUIDE, linestyle="--", linewidth=1)
    axes.text(-0.4, 1.1 * never, f"not within {limit:,} steps", color=GUIDE)
    axes.set(
        title="Without Adam, saturating recovers late or never.",
        ylabel="steps to recover",
        ylim=(8, 2 * never),
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, 0.86))


def _draw_traces(axes: Axes, results: Results, head_start: str, checked_every: int) -> None:
    for result in results:
        for pair, run in result[head_start]["runs"].items():
            optimizer, loss = pair.split(", ")
            values = run["trace"]["gradient"]
            steps = [checked_every * (i + 1) for i in range(len(values))]
            style = "-" if optimizer == "sgd" else ":"
            axes.plot(steps, values, style, color=_COLORS[loss], alpha=0.7, linewidth=1.1)
    axes.set(title=f"After {int(head_start):,} steps of D alone, until recovery.")
    axes.set(xlabel="training step", ylabel="gradient that reaches G", xscale="log", yscale="log")
    axes.set(ylim=(3e-5, 3e2))
    axes.text(0.04, 0.45, "—  sgd      ···  adam", transform=axes.transAxes)
