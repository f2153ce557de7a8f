"""Pictures: the sheet's layout, and files that show what they should."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from fastgan.data import Dataset, load
from fastgan.plots import save_dashboard, save_objectives, save_samples, tile
from fastgan.plots.objectives import flat_below, objective_curve
from tests.pictures import Shown


@pytest.mark.parametrize(("channels", "last"), [(1, ()), (3, (3,))])
def test_tile_places_images_row_by_row(channels: int, last: tuple[int, ...]) -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0, 0.0, 1.0])
    sheet = tile(levels.view(5, 1, 1, 1).expand(5, channels, 2, 3))
    assert sheet.shape == (5, 11, *last)
    cells = [[sheet[row, column].max() for column in (0, 4, 8)] for row in (0, 3)]
    assert cells == [[0, 0.5, 1], [0.5, 1, 0]]
    assert sheet[2].max() == sheet[:, 3].max() == 0


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (3, 2, 8, 8), (3, 8, 8)], ids=str)
def test_what_is_no_sheet(shape: tuple[int, ...]) -> None:
    said = f"images have shape {list(shape)}, expected [N, 1, H, W] or [N, 3, H, W] with N at least 1"
    with pytest.raises(ValueError, match=re.escape(said)):
        tile(torch.zeros(shape))


def test_no_point_makes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"points have shape \[0, 2\], expected \[N, 2\] with N at least 1"):
        save_samples(tmp_path / "s.png", torch.zeros(0, 2), 1.0, "none")


@pytest.mark.parametrize(
    ("data", "all_of_it", "seven"),
    [
        (load("ring"), 2_500, 7),
        (Dataset("colour", torch.rand(9, 3, 6, 5) * 1.5 - 0.5), 9 * 3 * 6 * 5, 7 * 3 * 6 * 5),
    ],
    ids=["points", "images"],
)
def test_pictures_show_what_they_are_given(
    tmp_path: Path, shown: Shown, data: Dataset, all_of_it: int, seven: int
) -> None:
    names = ("step", "loss_D", "loss_G", "D(x)", "D(G(z))")
    history = {name: [0.1, 0.2, 0.3] for name in names}
    save_dashboard(tmp_path / "d.png", history, data, data.samples[:7])
    save_samples(tmp_path / "s.png", data.samples[:7], data.scale, "seven samples")
    assert shown(tmp_path / "d.png") == [[3, 3], [3, 3], [all_of_it], [seven]]
    assert shown(tmp_path / "s.png") == [[seven]]


def test_objective_curves_are_the_losses_and_their_derivatives() -> None:
    logits = torch.linspace(-20, 8, 57, dtype=torch.float64)
    saturating, other = (objective_curve(logits, saturating=saturating) for saturating in (True, False))
    output = 1 / (1 + (-logits).exp())
    near = {"rtol": 1e-6, "atol": 1e-12}  # of 1 - D(G(z)), ten digits are left at f = 8
    torch.testing.assert_close(saturating.output, output)
    torch.testing.assert_close(saturating.loss, torch.log1p(-output), **near)
    torch.testing.assert_close(other.loss, -output.log(), **near)
    torch.testing.assert_close(saturating.slope, -output, **near)
    torch.testing.assert_close(other.slope, output - 1, **near)
    torch.testing.assert_close(saturating.slope_of_output, -1 / (1 - output), **near)
    torch.testing.assert_close(other.slope_of_output, -1 / output, **near)


def test_only_the_saturating_loss_is_flat_where_the_discriminator_wins() -> None:
    logits = torch.tensor([-20.0, -12.0, -6.9, 0.0], dtype=torch.float64)
    saturating, other = (objective_curve(logits, saturating=saturating) for saturating in (True, False))
    assert saturating.slope.tolist() == pytest.approx([-2.061e-9, -6.144e-6, -1.007e-3, -0.5], rel=1e-3)
    assert other.slope.tolist() == pytest.approx([-1, -1, -0.998993, -0.5], abs=1e-5)
    assert saturating.loss[0] - saturating.loss[1] == pytest.approx(6.142e-6, rel=1e-3)
    assert other.loss[0] - other.loss[1] == pytest.approx(8, abs=1e-5)
    # in D's output, the one never falls below 1, and the other grows without limit
    assert saturating.slope_of_output[0] == pytest.approx(-1, abs=1e-8)
    assert other.slope_of_output[0] == pytest.approx(-math.exp(20), rel=1e-6)
    assert flat_below(1e-3, torch.float64) == pytest.approx(-math.log(999), abs=2**-6)
    # half of float16's smallest number rounds to 0
    assert flat_below(0.0, torch.float16) == pytest.approx(-25 * math.log(2), abs=2**-6)


def test_objectives_are_drawn(tmp_path: Path, shown: Shown) -> None:
    save_objectives(str(tmp_path / "o.png"))
    *others, slopes_of_logit = shown(tmp_path / "o.png")
    assert [len(curves) for curves in others] == [2, 2, 2]
    assert min(map(min, others)) > 700  # of 801 points; the axes cut some off
    assert slopes_of_logit == [801, 801, 1]
