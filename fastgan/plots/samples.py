"""Pictures of samples: a plot of points, or a sheet of images."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from torch import Tensor

from fastgan.plots.figure import GENERATED, new_figure, save_figure
from fastgan.plots.points import View, draw_points
from fastgan.plots.sheets import in_bytes, save_sheet, tile


def save_samples(path: str | Path, samples: Tensor, title: str, view: View | None = None) -> None:
    """Write a picture of samples: a plot of points, or a sheet of images.

    Args:
        path: file to write; the suffix determines the format, as in matplotlib.
        samples: ``[N, D]`` in the data's units or ``[N, C, H, W]``, on the CPU.
        title: title of the picture.
        view: region of a plot of points; None for that of the samples.
    """
    if samples.ndim != 2:
        save_sheet(Path(path), samples, title)
        return
    figure = new_figure(5.2, 5.4)
    draw_points(figure.subplots(), samples, GENERATED, title, view or View.of(samples))
    save_figure(figure, path)


def draw_images(axes: Axes, images: Tensor, title: str) -> None:
    """Draw a sheet of images; :func:`fastgan.plots.figure.save_figure` scales it by a whole number."""
    axes.imshow(in_bytes(tile(images)), interpolation="nearest")
    axes.set_title(title, parse_math=False)
    axes.set_axis_off()
