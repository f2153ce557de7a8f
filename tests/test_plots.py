"""Pictures: the sheet's layout, and files that show what they should."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import pytest
import torch

from fastgan.data import Dataset, load
from fastgan.plots import save_dashboard, save_samples, tile


@pytest.mark.parametrize(("channels", "last"), [(1, ()), (3, (3,))])
def test_tile_places_images_row_by_row(channels: int, last: tuple[int, ...]) -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0, 0.0, 1.0])
    sheet = tile(levels.view(5, 1, 1, 1).expand(5, channels, 2, 3))
    assert sheet.shape == (5, 11, *last)
    cells = [[sheet[row, column].max() for column in (0, 4, 8)] for row in (0, 3)]
    assert cells == [[0, 0.5, 1], [0.5, 1, 0]]
    assert sheet[2].max() == sheet[:, 3].max() == 0


@pytest.mark.parametrize(
    "data", [load("ring"), Dataset("colour", torch.rand(9, 3, 6, 5) * 2 - 1)], ids=["points", "images"]
)
def test_pictures_are_written(tmp_path: Path, data: Dataset) -> None:
    names = ("step", "loss_D", "loss_G", "D(x)", "D(G(z))")
    history = {name: [0.1, 0.2, 0.3] for name in names}
    save_dashboard(tmp_path / "d.png", history, data, data.samples[:7])
    save_samples(tmp_path / "s.png", data.samples[:7], data.scale, "seven samples")
    for name in ("d.png", "s.png"):
        assert matplotlib.image.imread(tmp_path / name)[..., :3].std() > 0.05
