"""The summary picture of a run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fastgan.data.dataset import Dataset, is_points
from fastgan.plots.figure import (
    ALARM,
    DISCRIMINATOR,
    GENERATED,
    GENERATOR,
    GUIDE,
    REAL,
    new_figure,
    open_axes,
    save_figure,
)
from fastgan.plots.points import View, draw_points
from fastgan.plots.samples import draw_images

_DASHBOARD_IMAGES = 64
_DASHBOARD_POINTS = 2_500
_LINE = 150  # characters per line below the panels

# color and label of D's mean outputs, by their name in the log
_OUTPUTS = {
    "D(x)": (REAL, "D(x), real"),
    "D(G(z))": (GENERATED, "D(G(z)), generated"),
    "D~(x)": (REAL, "real, against the mean of generated"),
    "D~(G(z))": (GENERATED, "generated, against the mean of real"),
    "logit(x)": (REAL, "real"),
    "logit(G(z))": (GENERATED, "generated"),
    "D(x, G(z))": (DISCRIMINATOR, "D(x, G(z)), the real one of a pair"),
}

History = Mapping[str, Sequence[float]]
"""Columns of a run's log by name: ``step`` and statistics."""

Alarms = Sequence[Mapping[str, str]]
"""For each row of the log, the messages of lasting alarms by name."""


def save_dashboard(
    path: str | Path, history: History, data: Dataset, generated: Tensor, alarms: Alarms = ()
) -> None:
    """Write the summary picture of a run on points or images: its history, real and generated samples.

    Args:
        path, history, alarms: as for :func:`save_history`.
        data: the run's data.
        generated: ``[N, ...]`` samples of the generator, on the CPU.
    """

    def draw(real: Axes, fake: Axes) -> None:
        if not is_points(data.shape):
            draw_images(real, data.seen(slice(_DASHBOARD_IMAGES)), "Real samples")
            draw_images(fake, generated, "Generated samples")
            return
        points = data.transform.inverse(data.seen(slice(None)))
        view = View.of(points)
        draw_points(real, points[:_DASHBOARD_POINTS], REAL, "Real samples", view)
        made = data.transform.inverse(generated[:_DASHBOARD_POINTS])
        draw_points(fake, made, GENERATED, "Generated samples", view)

    save_history(path, history, data.title, draw, alarms)


def save_history(
    path: str | Path,
    history: History,
    title: str,
    draw: Callable[[Axes, Axes], None],
    alarms: Alarms = (),
) -> None:
    """Write the summary picture of a run: losses, D's outputs, FID, alarms, and two panels below.

    Args:
        path: file to write.
        history: the run's log.
        title: name of the data.
        draw: draws the panels below.
        alarms: alarms of the log's rows.
    """
    figure = new_figure(11, 9.5)
    layout = "llooff;rrrggg" if "fid" in history else "lo;rg"
    losses, outputs, *distance, left, right = figure.subplot_mosaic(layout, height_ratios=(0.72, 1)).values()
    figure.suptitle(f"GAN trained on {title}", fontsize=14, fontweight="bold", parse_math=False)
    _plot_losses(losses, history)
    if "k" in history:
        _plot_balance(outputs, history)
    else:
        _plot_outputs(outputs, history)
    if "fid" in history:
        _plot_fid(distance[0], history)
    for curve in (curve for axes in figure.axes for curve in axes.lines):
        if np.size(curve.get_xdata()) == 1:  # a line through one point is invisible
            curve.set_marker("o")
    draw(left, right)
    _mark_alarms(figure, (losses, outputs), history["step"], alarms)
    save_figure(figure, path)


def _mark_alarms(figure: Figure, panels: Sequence[Axes], steps: Sequence[float], alarms: Alarms) -> None:
    """Shade the steps during which alarms last, and write their messages below the panels."""
    lines = []
    for name in dict.fromkeys(name for row in alarms for name in row):
        stretches = _stretches([name in row for row in alarms])
        for axes in panels:
            for first, last in stretches:
                axes.axvspan(steps[first], steps[last], facecolor=(ALARM, 0.12), edgecolor=(ALARM, 0.5))
        first, last = stretches[0][0], stretches[-1][1]
        text = f"alarm, steps {steps[first]:,.0f} to {steps[last]:,.0f}: {alarms[last][name]}"
        lines.append(textwrap.fill(text, _LINE))
    if lines:
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=9, color=ALARM, parse_math=False)


def _stretches(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of each stretch of set flags; at least one flag must be set."""
    changes = np.flatnonzero(np.diff([False, *flags, False]))
    return [(int(begin), int(end) - 1) for begin, end in changes.reshape(-1, 2)]


def _plot_losses(axes: Axes, history: History) -> None:
    axes.plot(history["step"], history["loss_D"], color=DISCRIMINATOR, label="discriminator")
    axes.plot(history["step"], history["loss_G"], color=GENERATOR, label="generator")
    if "D(x)" in history or "D~(x)" in history:
        _guide(axes, 2 * math.log(2), "2 log 2")
    if "D(x, G(z))" in history:
        _guide(axes, math.log(2), "log 2")
    if "L(x)" in history:
        axes.plot(history["step"], history["L(x)"], color=REAL, linestyle=":", label="L(x), real samples")
        _style(axes, "Losses", "L1 distance to the reconstruction")
    else:
        _style(axes, "Losses", "loss" if "logit(x)" in history else "loss (nats)")


def _plot_outputs(axes: Axes, history: History) -> None:
    for name, (color, label) in _OUTPUTS.items():
        if name in history:
            axes.plot(history["step"], history[name], color=color, label=label)
    if "logit(x)" in history:
        _style(axes, "Discriminator's mean output", "logit")
        return
    _guide(axes, 0.5, "1/2")
    axes.set_ylim(0, 1)
    _style(axes, "Discriminator's mean output", "probability of being real")


def _plot_balance(axes: Axes, history: History) -> None:
    """BEGAN's k and M, with separate scales."""
    (convergence,) = axes.plot(history["step"], history["M"], color=DISCRIMINATOR, label="M, convergence")
    axes.set_ylim(bottom=0)
    of_k = axes.twinx()
    (balance,) = of_k.plot(history["step"], history["k"], color=GENERATOR, label="k, balance")
    of_k.set(ylim=(0, None), ylabel="k")
    of_k.spines["top"].set_visible(False)
    _style(axes, "Balance of the players", "M")
    axes.legend(handles=[convergence, balance], frameon=False, fontsize=9)


def _plot_fid(axes: Axes, history: History) -> None:
    measured = [pair for pair in zip(history["step"], history["fid"], strict=True) if not math.isnan(pair[1])]
    axes.plot(*zip(*measured, strict=True), color=GENERATED, label="FID")
    step, lowest = min(measured, key=lambda pair: pair[1])
    axes.plot(step, lowest, "o", color=GENERATED, label=f"lowest: {lowest:.3g}")
    axes.set_ylim(bottom=0)
    _style(axes, "Fréchet distance of features", "FID")


def _guide(axes: Axes, level: float, name: str) -> None:
    """Mark the value at which D cannot distinguish real and generated samples."""
    axes.axhline(level, color=GUIDE, linestyle="--", linewidth=1, label=f"{name}: D undecided")


def _style(axes: Axes, title: str, label: str) -> None:
    axes.set(title=title, xlabel="training step", ylabel=label)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.legend(frameon=False, fontsize=9)
    open_axes(axes)
