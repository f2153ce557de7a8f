"""Samples: points scattered in the plane, or a sheet of images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.dataset import is_image, is_points
from fastgan.plots.figure import GENERATED, new_figure, open_axes, save_figure


def save_samples(path: str | Path, samples: Tensor, scale: float, title: str) -> None:
    """Write a picture of samples: a scatter plot of points, or a sheet of images.

    Args:
        path: where to write; the suffix names the format, as in matplotlib.
        samples: ``[N, 2]`` or ``[N, C, H, W]`` on the CPU.
        scale: data units per unit of points.
        title: what stands above them.
    """
    figure = new_figure(5.2, 5.4)
    axes = figure.subplots()
    if is_points(tuple(samples.shape[1:])):
        draw_points(axes, samples * scale, GENERATED, title)
    else:
        draw_images(axes, samples, title)
    save_figure(figure, path)


def draw_points(axes: Axes, points: Tensor, color: str, title: str) -> None:
    if len(points) == 0:
        raise ValueError(f"points have shape {list(points.shape)}, expected [N, 2] with N at least 1")
    x, y = points.numpy().T
    axes.scatter(x, y, s=max(5, 1_000 / len(points)), alpha=0.4, color=color, linewidths=0)
    axes.set(title=title, xlabel="x (data units)", ylabel="y (data units)")
    axes.set_aspect("equal")
    open_axes(axes)


def draw_images(axes: Axes, images: Tensor, title: str) -> None:
    axes.imshow(tile(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def tile(images: Tensor) -> NDArray[np.float32]:
    """Lay images out as one, row by row, in a nearly square sheet with black gaps.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1] on the CPU, N at least 1, C = 1 or 3.

    Returns:
        ``[rows * (H + 1) - 1, columns * (W + 1) - 1]`` in [0, 1], with a last axis of 3 for RGB.

    Raises:
        ValueError: if there is no image, or they have another shape.
    """
    if len(images) == 0 or not is_image(tuple(images.shape[1:])):
        raise ValueError(
            f"images have shape {list(images.shape)}, expected [N, 1, H, W] or [N, 3, H, W] with N at least 1"
        )
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height + 1, width + 1, channels), np.float32)
    cells[:count, :height, :width] = (images.clamp(-1, 1).permute(0, 2, 3, 1).numpy() + 1) / 2
    sheet = cells.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    flat: NDArray[np.float32] = sheet.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return flat.squeeze(2) if channels == 1 else flat
