"""Pictures: the sheet's layout, and files that show what they should."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastgan.data import Dataset, load
from fastgan.plots import View, save_dashboard, save_objectives, save_samples, tile
from fastgan.plots.objectives import flat_below, objective_curve
from fastgan.plots.sheets import GAP, in_bytes
from tests.pictures import Shown, pixels_of


@pytest.mark.parametrize(("channels", "last"), [(1, ()), (3, (3,))])
def test_tile_places_images_row_by_row(channels: int, last: tuple[int, ...]) -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0, 0.0, 1.0])
    sheet = tile(levels.view(5, 1, 1, 1).expand(5, channels, 2, 3))
    assert sheet.shape == (5, 11, *last)
    cells = [[sheet[row, column].max() for column in (0, 4, 8)] for row in (0, 3)]
    assert cells == [[0, 0.5, 1], [0.5, 1, np.float32(GAP)]]
    gaps = (sheet[2], sheet[:, 3], sheet[:, 7], sheet[3:, 8:])  # and the cell without an image
    assert all(np.all(gap == np.float32(GAP)) for gap in gaps)


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (3, 2, 8, 8), (3, 8, 8)], ids=str)
def test_what_is_no_sheet(shape: tuple[int, ...]) -> None:
    said = f"images have shape {list(shape)}, expected [N, 1, H, W] or [N, 3, H, W] with N at least 1"
    with pytest.raises(ValueError, match=re.escape(said)):
        tile(torch.zeros(shape))


def test_no_point_makes_no_picture(tmp_path: Path) -> None:
    said = r"points have shape \[0, 2\], expected \[N, D\] with N and D at least 1"
    with pytest.raises(ValueError, match=said):
        save_samples(tmp_path / "s.png", torch.zeros(0, 2), "none")


HISTORY = {name: [0.1, 0.2, 0.3] for name in ("step", "loss_D", "loss_G", "D(x)", "D(G(z))")}


@pytest.mark.parametrize(
    ("data", "all_of_it", "seven"),
    [
        (load("ring"), 2_500, 7),
        (Dataset("colour", torch.rand(9, 3, 6, 5) * 1.5 - 0.5), 9 * 6 * 5, 7 * 6 * 5),
    ],
    ids=["points", "images"],
)
def test_dashboards_show_what_they_are_given(
    tmp_path: Path, shown: Shown, data: Dataset, all_of_it: int, seven: int
) -> None:
    save_dashboard(tmp_path / "d.png", HISTORY, data, data.samples[:7])
    assert shown(tmp_path / "d.png") == [[3, 3], [3, 3], [all_of_it], [seven]]


def find(picture: NDArray[np.uint8], sheet: NDArray[np.uint8]) -> list[int]:
    """At which whole-number zooms a picture holds a sheet, pixel by pixel."""
    return [
        zoom
        for zoom in range(1, min(picture.shape[0] // sheet.shape[0], picture.shape[1] // sheet.shape[1]) + 1)
        if holds(picture, sheet.repeat(zoom, axis=0).repeat(zoom, axis=1))
    ]


def holds(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    height, width = part.shape[:2]
    places = np.indices((picture.shape[0] - height + 1, picture.shape[1] - width + 1))
    tops, lefts = places.reshape(2, -1)
    # a few pixels first: they leave few places to compare whole
    for y, x in np.random.default_rng(0).integers((height, width), size=(30, 2)):
        here = (picture[tops + y, lefts + x] == part[y, x]).all(axis=1)
        tops, lefts = tops[here], lefts[here]
    return any(
        np.array_equal(picture[top : top + height, left : left + width], part)
        for top, left in zip(tops, lefts, strict=True)
    )


def noise(count: int, *shape: int) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count)) * 2 - 1


@pytest.mark.parametrize(
    ("images", "zoom"),
    [
        (noise(1, 1, 8, 8), 80),
        (noise(3, 1, 8, 8), 38),
        (noise(64, 1, 8, 8), 9),
        (noise(10, 3, 32, 24), 6),
        (noise(64, 1, 28, 28), 3),
        (noise(4, 3, 400, 300), 1),
    ],
    ids=["one", "three", "digits", "colour", "mnist", "large"],
)
def test_a_pixel_of_a_sample_is_a_whole_number_of_the_sheets(
    tmp_path: Path, images: torch.Tensor, zoom: int
) -> None:
    save_samples(tmp_path / "s.png", images, "a title")
    assert find(pixels_of(tmp_path / "s.png"), in_bytes(tile(images))) == [zoom]


@pytest.mark.parametrize("shape", [(3, 13, 9), (1, 28, 28)], ids=str)
def test_a_pixel_of_a_sample_is_a_whole_number_of_the_dashboards(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data = Dataset("noise", noise(64, *shape))
    save_dashboard(tmp_path / "d.png", HISTORY, data, noise(50, *shape))
    picture = pixels_of(tmp_path / "d.png")
    real, fake = (find(picture, in_bytes(tile(images))) for images in (data.samples, noise(50, *shape)))
    assert real == fake
    assert len(real) == 1


def test_the_title_of_a_sheet_is_whole_however_long(tmp_path: Path) -> None:
    image = torch.ones(1, 1, 8, 8)
    heights = []
    for title in ("short", "a_name_without_a_space" * 6, "$\\alpha$ and words " * 9, "名前"):
        save_samples(tmp_path / "s.png", image, title)
        picture = pixels_of(tmp_path / "s.png")
        above = picture[: picture.shape[0] - 8 * 80 - 12]
        assert (above < 100).any()
        assert (above[:, :8] == 255).all()
        assert (above[:, -8:] == 255).all()
        heights.append(picture.shape[0])
    assert heights[0] == heights[3] < heights[1]


@pytest.mark.parametrize("suffix", ["pdf", "svg", "jpg"])
def test_sheets_of_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s.{suffix}"
    save_samples(path, noise(3, 1, 8, 8), "three")
    begin = {"pdf": b"%PDF", "svg": b"<?xml", "jpg": b"\xff\xd8"}[suffix]
    assert path.read_bytes().startswith(begin)


def drawn(
    monkeypatch: pytest.MonkeyPatch, path: Path, points: torch.Tensor, view: View | None = None
) -> Axes:
    figures = []
    save = Figure.savefig
    with monkeypatch.context() as patch:
        patch.setattr(
            Figure, "savefig", lambda figure, *args, **kw: (figures.append(figure), save(figure, *args, **kw))
        )
        save_samples(path, points, "points", view)
    axes: Axes = figures[0].axes[0]
    return axes


def coloured(path: Path) -> int:
    """Pixels that are neither grey nor white."""
    picture = pixels_of(path).astype(int)
    return int((picture.max(axis=2) - picture.min(axis=2) > 30).sum())


def test_axes_have_one_scale_only_where_they_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = torch.randn(2_000, 2)
    unlike = unit * torch.tensor([1.0, 0.05]) + torch.tensor([1000.0, 5.0])
    assert drawn(monkeypatch, tmp_path / "a.png", unit).get_aspect() == 1
    assert drawn(monkeypatch, tmp_path / "b.png", unit + torch.tensor([1000.0, 5.0])).get_aspect() == 1
    axes = drawn(monkeypatch, tmp_path / "c.png", unlike)
    assert axes.get_aspect() == "auto"
    assert coloured(tmp_path / "c.png") > 5_000  # the cloud fills the picture, and is not a line
    assert 997 > axes.get_xlim()[0] > 994
    assert 5.3 > axes.get_ylim()[1] > 5.1


def test_limits_are_those_of_the_data_in_every_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = torch.randn(3_000, 2)
    points[0] = 1e6  # an outlier does not squeeze the rest
    view = View.of(points)
    assert all(3 < -low < 6 and 3 < high < 6 for low, high in view.limits)
    for scale, outside in ((0.01, False), (1.0, False), (50.0, True)):
        axes = drawn(monkeypatch, tmp_path / "s.png", points[1:] * scale, view)
        assert (axes.get_xlim(), axes.get_ylim()) == view.limits
        assert any("of 2,999 outside" in text.get_text() for text in axes.texts) == outside


def test_single_points_are_seen_and_many_are_a_density(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.png"
    view = View(((-5.0, 5.0), (-5.0, 5.0)))
    drawn(monkeypatch, path, torch.tensor([[1.0, 1.0]]), view)
    one = coloured(path)
    assert 20 < one < 400
    drawn(monkeypatch, path, torch.tensor([[1.0, 1.0], [-3.0, 2.0], [0.0, -4.0]]), view)
    assert coloured(path) == pytest.approx(3 * one, rel=0.1)
    drawn(monkeypatch, path, torch.tensor([1.0, 1.0]) + 1e-3 * torch.randn(20_000, 2), view)
    assert one <= coloured(path) <= 2 * one  # a dot, as after a collapse
    crowd = torch.randn(100_000, 2) * 0.1
    axes = drawn(monkeypatch, path, crowd, view)
    without = coloured(path)
    assert float(axes.collections[0].get_array().sum()) == 100_000
    drawn(monkeypatch, path, torch.cat([crowd, torch.tensor([[4.0, -4.0]])]), view)
    assert coloured(path) >= without + 4  # one among so many


@pytest.mark.parametrize("dimensions", [1, 3, 10])
def test_points_of_any_number_of_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dimensions: int
) -> None:
    axes = drawn(monkeypatch, tmp_path / "s.png", torch.randn(500, dimensions))
    assert coloured(tmp_path / "s.png") > 1_000
    expected = "x (data units)" if dimensions == 1 else f"axis 1 of {dimensions} (data units)"
    assert axes.get_xlabel() == expected


def test_points_that_are_all_alike_and_ones_that_are_not_finite(tmp_path: Path) -> None:
    for points in (torch.full((9, 2), 7.0), torch.full((9, 2), torch.nan), torch.zeros(9, 1)):
        save_samples(tmp_path / "s.png", points, "odd")
        assert pixels_of(tmp_path / "s.png").size


def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from now on."""
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: (figures.append(figure), save(figure, *args, **kw))
    )
    return figures


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("outputs", [("D(x)", "D(G(z))"), ("k", "M", "L(x)")])
def test_a_log_of_one_row_is_seen_on_the_dashboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: tuple[str, ...]
) -> None:
    """A line through one point shows nothing."""
    figures, data = saved_figures(monkeypatch), load("ring")
    for rows in (1, 2):
        history = {name: [0.7] * rows for name in ("loss_D", "loss_G", *outputs)}
        history["step"] = [100.0, 200.0][:rows]
        save_dashboard(tmp_path / "d.png", history, data, data.samples[:9])
    for rows, figure in enumerate(figures, 1):
        lines = [line for axes in figure.axes for line in axes.lines]
        guides = [line for line in lines if "undecided" in str(line.get_label())]
        assert [line.get_marker() == "o" for line in lines if line not in guides] == [rows == 1] * (
            2 + len(outputs)
        )
        assert not any(line.get_marker() == "o" for line in guides)
        assert all(step == round(step) for step in figure.axes[0].get_xticks())


def test_alarms_are_marked_on_the_dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = saved_figures(monkeypatch)
    steps = [100.0, 200.0, 300.0, 400.0, 500.0]
    history = {name: steps if name == "step" else [0.5] * 5 for name in HISTORY}
    alarms: list[dict[str, str]] = [{}, {"collapse": "one"}, {"collapse": "two"}, {}, {"collapse": "three"}]
    data = load("ring")
    save_dashboard(tmp_path / "with.png", history, data, data.samples, alarms)
    save_dashboard(tmp_path / "without.png", history, data, data.samples, [{}] * 5)
    marked, plain = figures
    for axes in marked.axes[:2]:
        spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
        assert spans == [(200, 300), (500, 500)]
    assert marked.get_supxlabel() == "alarm, steps 200 to 500: three"
    assert plain.get_supxlabel() == ""
    assert not plain.axes[0].patches

    def is_red(path: Path) -> NDArray[np.bool_]:
        red, green, blue = pixels_of(path).astype(int).transpose(2, 0, 1)
        return (red > 180) & (green < 120) & (blue < 120) & (abs(green - blue) < 30)

    assert is_red(tmp_path / "with.png").sum() > is_red(tmp_path / "without.png").sum() + 100


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
