"""Shared by all pictures: colors, figures without a display, and safe writing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from fastgan.files import write_whole

DPI = 120
REAL = "#1f77b4"
GENERATED = "#e8590c"
DISCRIMINATOR = "#2b8a3e"
GENERATOR = "#9c36b5"
GUIDE = "#868e96"
ALARM = "#c92a2a"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes are in inches."""
    # not pyplot: it keeps all figures alive and may choose a backend that needs a display
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the figure completely or not at all; the suffix determines the format, as in matplotlib."""
    path = Path(path)
    _zoom_images(figure)
    # an explicit format: without a suffix, matplotlib would add one
    kind = path.suffix.removeprefix(".") or "png"
    write_whole(path, lambda whole: figure.savefig(whole, format=kind, dpi=DPI))


def _zoom_images(figure: Figure) -> None:
    """Scale images by a whole number of pixels, or average blocks of pixels if they are too large."""
    pictured = [axes for axes in figure.axes if axes.images]
    if not pictured:
        return
    figure.set_dpi(DPI)
    figure.draw_without_rendering()  # lays the axes out
    figure.set_layout_engine("none")
    size = figure.bbox.size
    for axes in pictured:
        (image,) = axes.images
        (left, bottom), (right, top) = axes.get_position(original=True).get_points() * size
        pixels = np.asarray(image.get_array())
        blocks = math.ceil(max(pixels.shape[1] / (right - left), pixels.shape[0] / (top - bottom)))
        if blocks > 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(blocks))
            image.set_data(pixels)
        height, width = pixels.shape[:2]
        image.set_extent((0, width, height, 0))
        zoom = int(min((right - left) / width, (top - bottom) / height))
        corner = np.rint([(left + right - zoom * width) / 2, (bottom + top - zoom * height) / 2])
        axes.set_aspect("auto")
        axes.set_position((*(corner / size), *(np.array([zoom * width, zoom * height]) / size)))


def open_axes(axes: Axes) -> None:
    """Draw a faint grid, and no frame at the top and right."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
