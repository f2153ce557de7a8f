"""Pictures: samples, and the dashboard of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.dataset import Dataset, is_points
from fastgan.files import write_whole

DPI = 120
REAL = "#1f77b4"
GENERATED = "#e8590c"
DISCRIMINATOR = "#2b8a3e"
GENERATOR = "#9c36b5"
_GUIDE = "#868e96"
_DASHBOARD_IMAGES = 64
_DASHBOARD_POINTS = 2_500

History = Mapping[str, Sequence[float]]
"""Columns of a run's log: ``step`` and the names of the statistics."""


def save_samples(path: Path, samples: Tensor, scale: float, title: str) -> None:
    """Write a picture of samples: a scatter plot of points, or a sheet of images.

    Args:
        path: where to write; the suffix names the format, as in matplotlib.
        samples: ``[N, 2]`` or ``[N, C, H, W]`` on the CPU.
        scale: data units per unit of points.
        title: what stands above them.
    """
    figure = _figure(5.2, 5.4)
    axes = figure.subplots()
    if is_points(tuple(samples.shape[1:])):
        _scatter(axes, samples * scale, GENERATED, title)
    else:
        _sheet(axes, samples, title)
    _save(figure, path)


def save_dashboard(path: Path, history: History, data: Dataset, generated: Tensor) -> None:
    """Write the summary picture of a run: losses, D's outputs, real and generated samples.

    Args:
        path: where to write.
        history: the run's log.
        data: what it was trained on.
        generated: ``[N, ...]`` samples of the trained generator, on the CPU.
    """
    figure = _figure(11, 9.5)
    (losses, outputs), (real, fake) = figure.subplots(2, 2, height_ratios=(0.72, 1))
    figure.suptitle(f"GAN trained on {data.name}", fontsize=14, fontweight="bold")
    _plot_losses(losses, history)
    _plot_outputs(outputs, history)
    if is_points(data.shape):
        _scatter(real, data.samples[:_DASHBOARD_POINTS] * data.scale, REAL, "Real samples")
        _scatter(fake, generated[:_DASHBOARD_POINTS] * data.scale, GENERATED, "Generated samples")
        fake.set(xlim=real.get_xlim(), ylim=real.get_ylim())
    else:
        _sheet(real, data.samples[:_DASHBOARD_IMAGES], "Real samples")
        _sheet(fake, generated[:_DASHBOARD_IMAGES], "Generated samples")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # the temporary name's suffix names no format
    kind = path.suffix.removeprefix(".") or "png"
    write_whole(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=DPI))


def _figure(width: float, height: float) -> Figure:
    # not pyplot: it keeps every figure alive and picks a backend that may want a display
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plot_losses(axes: Axes, history: History) -> None:
    axes.plot(history["step"], history["loss_D"], color=DISCRIMINATOR, label="discriminator")
    axes.plot(history["step"], history["loss_G"], color=GENERATOR, label="generator")
    _guide(axes, 2 * math.log(2), "2 log 2")
    _style(axes, "Losses", "loss (nats)")


def _plot_outputs(axes: Axes, history: History) -> None:
    axes.plot(history["step"], history["D(x)"], color=REAL, label="D(x), real")
    axes.plot(history["step"], history["D(G(z))"], color=GENERATED, label="D(G(z)), generated")
    _guide(axes, 0.5, "1/2")
    axes.set_ylim(0, 1)
    _style(axes, "Discriminator's mean output", "probability of being real")


def _guide(axes: Axes, level: float, name: str) -> None:
    """Mark the value at which D cannot tell the two apart."""
    axes.axhline(level, color=_GUIDE, linestyle="--", linewidth=1, label=f"{name}: D undecided")


def _style(axes: Axes, title: str, label: str) -> None:
    axes.set(title=title, xlabel="training step", ylabel=label)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.locator_params(axis="x", nbins=6)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _scatter(axes: Axes, points: Tensor, color: str, title: str) -> None:
    x, y = points.numpy().T
    axes.scatter(x, y, s=max(5, 1_000 / len(points)), alpha=0.4, color=color, linewidths=0)
    axes.set(title=title, xlabel="x (data units)", ylabel="y (data units)")
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _sheet(axes: Axes, images: Tensor, title: str) -> None:
    axes.imshow(tile(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def tile(images: Tensor) -> NDArray[np.float32]:
    """Lay images out as one, row by row, in a nearly square sheet with black gaps.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1] on the CPU, N at least 1, C = 1 or 3.

    Returns:
        ``[rows * (H + 1) - 1, columns * (W + 1) - 1]`` in [0, 1], with a last axis of 3 for RGB.
    """
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height + 1, width + 1, channels), np.float32)
    cells[:count, :height, :width] = (images.clamp(-1, 1).permute(0, 2, 3, 1).numpy() + 1) / 2
    sheet = cells.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    flat: NDArray[np.float32] = sheet.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return flat.squeeze(2) if channels == 1 else flat
