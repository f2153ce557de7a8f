"""What all pictures have in common: colours, a figure without a display, files that are whole."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastgan.files import write_whole

DPI = 120
REAL = "#1f77b4"
GENERATED = "#e8590c"
DISCRIMINATOR = "#2b8a3e"
GENERATOR = "#9c36b5"
GUIDE = "#868e96"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches."""
    # not pyplot: it keeps every figure alive and picks a backend that may want a display
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the figure, whole or not at all; the suffix names the format, as in matplotlib."""
    path = Path(path)
    kind = (
        path.suffix.removeprefix(".") or "png"
    )  # named, or matplotlib would add a suffix where there is none
    write_whole(path, lambda whole: figure.savefig(whole, format=kind, dpi=DPI))


def open_axes(axes: Axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
