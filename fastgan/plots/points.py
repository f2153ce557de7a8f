"""Points: a cloud of the first two axes, a density where there are many, a histogram of a single axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from numpy.typing import NDArray
from torch import Tensor

from fastgan.plots.figure import open_axes

_MANY = 10_000  # of which a cloud would be one blot
_CELLS = 150  # of a density, on each axis
_FEW = 100  # cells with a point in them; each is then a dot, as a cell is two pixels wide
_BARS = 60
_ALIKE = 3.0  # ratio of two axes' lengths up to which both have one scale
_OUTLIERS = 0.001  # of the data, at each end of an axis
_MARGIN = 0.15  # of what an axis shows, at each end


@dataclass(frozen=True)
class View:
    """What a picture of points shows; the same in all pictures of a run, so that they can be compared.

    Attributes:
        limits: of each axis, the lowest and the highest value.
    """

    limits: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, points: Tensor) -> View:
        """All but the outliers of points ``[N, D]``, with a margin."""
        if points.ndim != 2 or points.numel() == 0:
            raise ValueError(
                f"points have shape {list(points.shape)}, expected [N, D] with N and D at least 1"
            )
        return cls(tuple(_limits(axis) for axis in points.double().numpy().T[:2]))

    @property
    def is_even(self) -> bool:
        """Whether the axes are alike, so that a unit is to have one length on both."""
        lengths = [high - low for low, high in self.limits]
        return max(lengths) <= _ALIKE * min(lengths)

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points ``[N, D]`` a picture shows; not those that are not finite."""
        low, high = np.array(self.limits).T
        inside: NDArray[np.bool_] = ((low <= points) & (points <= high)).all(axis=1)
        return inside


def draw_points(axes: Axes, points: Tensor, color: str, title: str, view: View) -> None:
    """Draw points.

    Args:
        axes: where.
        points: ``[N, D]`` in data units, on the CPU; of more than two axes the first two are drawn.
        color: of the points.
        title: above them.
        view: what to show; how many points lie outside stands in the picture.
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
    few = np.count_nonzero(np.histogram2d(x, y, _CELLS, view.limits)[0]) < _FEW
    if len(points) > _MANY and not few:
        # a cell with a single point has half the colour, so that it is seen
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
