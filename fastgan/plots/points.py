"""Draws points: a scatter plot of the first two axes, a density for many points, a histogram for one axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from numpy.typing import NDArray
from torch import Tensor

from fastgan.plots.figure import open_axes

_MANY = 10_000  # points above which a density is drawn, as a scatter plot would be one blot
_CELLS = 150  # of a density, along each axis
_FEW_CELLS = 100  # nonempty cells below which points are drawn as dots, as a cell is only two pixels wide
_BARS = 60
_MAX_RATIO = 3.0  # largest ratio of two axes' lengths for a common scale
_OUTLIERS = 0.001  # share of the points outside an axis, at each end
_MARGIN = 0.15  # share of an axis's length, at each end


@dataclass(frozen=True)
class View:
    """The region that a picture of points shows; the same in all pictures of a run, for comparison.

    Attributes:
        limits: lowest and highest value of each axis.
    """

    limits: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, points: Tensor) -> View:
        """The region of points ``[N, D]`` without outliers, with a margin."""
        if points.ndim != 2 or points.numel() == 0:
            raise ValueError(
                f"points have shape {list(points.shape)}, expected [N, D] with N and D at least 1"
            )
        return cls(tuple(_limits(axis) for axis in points.double().numpy().T[:2]))

    @property
    def is_even(self) -> bool:
        """Whether the lengths of the axes are similar enough for a common scale."""
        lengths = [high - low for low, high in self.limits]
        return max(lengths) <= _MAX_RATIO * min(lengths)

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether points ``[N, D]`` are in the region; False if they are not finite."""
        low, high = np.array(self.limits).T
        inside: NDArray[np.bool_] = ((low <= points) & (points <= high)).all(axis=1)
        return inside


def draw_points(axes: Axes, points: Tensor, color: str, title: str, view: View) -> None:
    """Draw points.

    Args:
        axes: axes to draw in.
        points: ``[N, D]`` in data units, on the CPU; only the first two axes are drawn.
        color: color of the points.
        title: title of the picture.
        view: region to show; the picture states the number of points outside.
    """
    shown = points.double().numpy()[:, :2]
    inside = view.inside(shown)
    if points.shape[1] == 1:
        axes.hist(shown[inside, 0], bins=_BARS, range=view.limits[0], color=color)
        axes.set(xlim=view.limits[0], ylabel="samples")
    else:
        _draw_cloud(axes, shown[inside], color, view)
    for axis, name in zip((axes.xaxis, axes.yaxis), _names(points.shape[1]), strict=False):
        axis.set_label_text(f"{name} (data units)")
    axes.set_title(title, parse_math=False)
    if outside := int((~inside).sum()):
        text = f"{outside:,} of {len(points):,} outside"
        axes.text(0.98, 0.02, text, transform=axes.transAxes, ha="right", fontsize=9)
    open_axes(axes)


def _draw_cloud(axes: Axes, points: NDArray[np.float64], color: str, view: View) -> None:
    x, y = points.T
    few = np.count_nonzero(np.histogram2d(x, y, _CELLS, view.limits)[0]) < _FEW_CELLS
    if len(points) > _MANY and not few:
        # the palest shade, for a single point, is half the color, so that it is visible
        rgb = np.array(to_rgb(color))
        shades = LinearSegmentedColormap.from_list("", np.stack([(rgb + 1) / 2, rgb, 0 * rgb]))
        *_, cells = axes.hist2d(
            x, y, bins=_CELLS, range=view.limits, cmin=1, norm=LogNorm(), cmap=shades, rasterized=True
        )
        axes.figure.colorbar(cells, ax=axes, label="samples in a cell", shrink=0.7)
    else:
        axes.scatter(x, y, s=30 if few else 6, alpha=0.8 if few else 0.5, color=color, linewidths=0)
    axes.set(xlim=view.limits[0], ylim=view.limits[1])
    axes.set_aspect("equal" if view.is_even else "auto")


def _names(dimensions: int) -> tuple[str, ...]:
    if dimensions <= 2:
        return ("x", "y")[:dimensions]
    return tuple(f"axis {number} of {dimensions}" for number in (1, 2))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return -1.0, 1.0
    low, high = (float(end) for end in np.quantile(values, (_OUTLIERS, 1 - _OUTLIERS)))
    margin = _MARGIN * (high - low) or 0.1 * abs(low) or 1.0
    return low - margin, high + margin
