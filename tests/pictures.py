"""What pictures show, counted: axes, titles and legends without data have dark pixels too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

_GAP = 204  # the grey between images, and of cells without one
Shown = Callable[[Path], list[list[int]]]


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """RGB ``[H, W, 3]``."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@contextmanager
def undrawn_pictures() -> Iterator[None]:
    """Figures are built and their files written, but nothing is drawn: that is most of a short run's time."""

    def unfinished(figure: Figure, path: Path, **options: Any) -> None:
        Image.new("RGB", (4, 4)).save(path, "png")  # TensorBoard gets what is read from there

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Figure, "savefig", unfinished)
        monkeypatch.setattr(Figure, "draw_without_rendering", lambda figure: None)
        yield


@contextmanager
def watched_pictures() -> Iterator[Shown]:
    """Gives, for a picture that is written meanwhile, how much each artist of each axes shows."""
    counts: dict[Path, list[list[int]]] = {}
    save = Figure.savefig

    def counted(figure: Figure, path: Path, **options: Any) -> None:
        save(figure, path, **options)
        counts[path.parents[1] / path.name] = [_count(axes) for axes in figure.axes]

    def shown(path: Path) -> list[list[int]]:
        assert matplotlib.image.imread(path).size
        return counts[path]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Figure, "savefig", counted)
        yield shown


def _count(axes: Axes) -> list[int]:
    """Points of lines and clouds that lie within the axes, and pixels of images.

    Lines across the axes, which mark a level, are none of the data.
    """
    points = [line.get_xydata() for line in axes.lines if line.get_transform() is axes.transData]
    points += [np.asarray(cloud.get_offsets()) for cloud in axes.collections]
    low, high = np.sort([axes.get_xlim(), axes.get_ylim()]).T
    return [
        *(int(((low <= xy) & (xy <= high)).all(axis=1).sum()) for xy in points),
        *(int((np.asarray(image.get_array()) != _GAP).any(axis=2).sum()) for image in axes.images),
    ]
