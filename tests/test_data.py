"""Data sets: what is read is what was written, and what cannot be read is named."""

from __future__ import annotations

import gzip
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fastgan.data.stacked as stacked
from fastgan.data import DataError, Modes, load
from fastgan.data.idx import read_idx


def write_idx(path: Path, array: np.ndarray) -> Path:
    header = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(("name", "count", "sigma"), [("ring", 8, 0.02), ("grid", 25, 0.05)])
def test_mixture_has_distinct_equally_likely_modes(name: str, count: int, sigma: float) -> None:
    data = load(name)
    assert data.modes is not None
    assert len(data.modes.centers) == count
    assert torch.pdist(data.modes.centers).min() > 0.5
    distance, mode = torch.cdist(data.samples * data.scale, data.modes.centers).min(dim=1)
    assert distance.square().mean().sqrt() == pytest.approx(sigma * 2**0.5, rel=0.02)
    shares = torch.bincount(mode, minlength=count) / len(mode)
    assert shares == pytest.approx(torch.full((count,), 1 / count), rel=0.1)


@pytest.mark.parametrize(
    ("centers", "sigma", "said"),
    [
        (torch.zeros(3, 2), -1.0, "sigma is -1.0, expected above 0 and finite"),
        (torch.zeros(3, 2), math.nan, "sigma is nan"),
        (torch.zeros(3), 1.0, r"centers are torch.float32 of shape \[3\], expected floats \[K, D\]"),
        (torch.zeros(0, 2), 1.0, r"centers are .* of shape \[0, 2\]"),
        (torch.zeros(3, 2).long(), 1.0, "centers are torch.int64"),
        (torch.full((3, 2), math.inf), 1.0, "centers hold nan or infinite"),
    ],
)
def test_modes_of_no_mixture(centers: torch.Tensor, sigma: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Modes(centers, sigma)


def test_digits_are_images_from_minus_one_to_one() -> None:
    data = load("digits")
    assert data.samples.shape == (1797, 1, 8, 8)
    assert (data.samples.min(), data.samples.max()) == (-1, 1)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "mnist/train-images-idx3-ubyte.gz"])
def test_mnist_comes_from_the_data_folder(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / name, pixels)
    samples = load("mnist", tmp_path).samples
    assert torch.equal(samples[:, 0], torch.from_numpy(pixels).float() / 127.5 - 1)


def test_mnist_missing_names_folder_and_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}.*--data-dir"):
        load("mnist", tmp_path)


def test_mnist_in_a_folder_does_without_what_fetches_it(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    write_idx(tmp_path / "train-images-idx3-ubyte", pixels)
    assert len(load("mnist", tmp_path).samples) == len(pixels)
    with pytest.raises(DataError, match="fetching it needs pooch: pip install pooch, or give"):
        load("mnist")


def test_mnist_has_labels_where_they_are(tmp_path: Path, pixels: np.ndarray) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", pixels)
    assert load("mnist", tmp_path).labelled is None
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    write_idx(labels, np.array([5, 0, 4, 1, 9]))
    labelled = load("mnist", tmp_path).labelled
    assert labelled is not None
    assert labelled.labels.tolist() == [5, 0, 4, 1, 9]
    write_idx(labels, np.array([5, 0, 4]))
    with pytest.raises(DataError, match="5 images, but 3 labels"):
        load("mnist", tmp_path)
    write_idx(labels, np.array([5, 0, 4, 1, 10]))
    with pytest.raises(DataError, match=rf"{labels}.*up to 10, expected"):
        load("mnist", tmp_path)


def test_stacked_digits_are_of_mnist_where_it_is(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked, "SAMPLES", 200)
    write_idx(tmp_path / "train-images-idx3-ubyte", pixels)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(5))
    data = load("stacked", tmp_path)
    assert data.shape == (3, 28, 28)
    singles = {image.numpy().tobytes() for image in load("mnist", tmp_path).samples}
    drawn = [[channel.numpy().tobytes() for channel in sample] for sample in data.samples]
    assert {channel for sample in drawn for channel in sample} == singles
    assert len({tuple(sample) for sample in drawn}) > 80  # of 125, in 200 draws


def test_stacked_digits_of_scikit_learn_come_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=rf"{tmp_path} holds no MNIST with labels; stacks scikit-learn's"):
        data = load("stacked", tmp_path)
    assert data.samples.shape == (50_000, 3, 8, 8)
    assert data.labelled is not None
    assert (data.labelled.name, len(data.labelled.labels)) == ("digits", 1797)


def test_idx_path(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_idx(tmp_path / "t10k-images-idx3-ubyte", pixels)
    assert load(str(path)).shape == (1, 28, 28)


@pytest.mark.parametrize("name", ["a-ubyte", "a-ubyte.gz"])
@pytest.mark.parametrize("keep", [0, 3, 9, 200])
def test_truncated_idx_is_named(tmp_path: Path, pixels: np.ndarray, name: str, keep: int) -> None:
    path = write_idx(tmp_path / name, pixels)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=str(path)):
        read_idx(path)


def test_idx_of_floats_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(bytes([0, 0, 0x0D, 1]) + struct.pack(">If", 1, 1.0))
    with pytest.raises(DataError, match="type 0x0d"):
        read_idx(path)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((4, 2)), (2,)),
        (np.zeros((4, 6, 5)), (1, 6, 5)),
        (np.zeros((4, 6, 5, 3), np.uint8), (3, 6, 5)),
        (np.zeros((4, 3, 6, 5), np.float16), (3, 6, 5)),
    ],
)
def test_arrays(tmp_path: Path, array: np.ndarray, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    for suffix in ("npy", "npz"):
        data = load(str(tmp_path / f"a.{suffix}"))
        assert data.shape == shape
        assert data.samples.dtype == torch.float32


def test_points_are_scaled_to_one_and_back(tmp_path: Path) -> None:
    points = np.array([[1.0, -40.0], [3.0, 20.0]])
    np.save(tmp_path / "a.npy", points)
    data = load(str(tmp_path / "a.npy"))
    assert data.samples.abs().max() == 1
    assert torch.allclose(data.samples * data.scale, torch.from_numpy(points).float())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 2)), "empty"),
        (np.zeros((4, 3)), "shape"),
        (np.zeros((4, 5, 6, 7)), "shape"),
        (np.zeros((4, 2), np.int64), "int64"),
        (np.array([[0.0, np.nan]]), "nan"),
        (np.full((4, 6, 5), 255.0), "255"),
        (np.full((4, 2), 1e300), "too large for float32; rescale"),
    ],
)
def test_bad_array_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array)
    with pytest.raises(DataError, match=rf"{path}.*{message}"):
        load(str(path))


def test_unreadable_arrays_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 2)), b=np.zeros((4, 2)))
    for name in ("a.npy", "a.npz", "object.npy", "two.npz"):
        with pytest.raises(DataError, match=name):
            load(str(tmp_path / name))


def test_archive_under_the_name_of_an_array(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, np.zeros((4, 2)))
    assert load(str(tmp_path / "a.npy")).shape == (2,)


@pytest.mark.parametrize("shape", [(), (0, 4, 4), (4, 0, 4), (1,) * 5])
def test_idx_of_odd_shape_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_idx(tmp_path / "a.idx", np.zeros(shape))
    with pytest.raises(DataError, match=rf"{path}: IDX"):
        read_idx(path)


def test_huge_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (60, 50)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"huge\.png"):
        load(str(tmp_path))


def test_folder_named_like_a_built_in_set_keeps_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ring").mkdir()
    Image.new("L", (6, 5)).save(tmp_path / "ring" / "a.png")
    assert load("./ring").name == str(tmp_path / "ring")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folder_of_images(tmp_path: Path, mode: str, channels: int) -> None:
    for index, color in enumerate(("black", "white")):
        Image.new(mode, (6, 5), color).save(tmp_path / f"{index}.png")
    samples = load(str(tmp_path)).samples
    assert samples.shape == (2, channels, 5, 6)
    assert samples.amax(dim=(1, 2, 3)).tolist() == [-1, 1]


def test_folder_without_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=rf"{tmp_path}.*no image"):
        load(str(tmp_path))


@pytest.mark.parametrize(("mode", "size"), [("L", (7, 5)), ("RGB", (6, 5)), ("CMYK", (6, 5))])
def test_odd_image_out_is_named(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    Image.new("L", (6, 5)).save(tmp_path / "a.tif")
    Image.new(mode, size).save(tmp_path / "odd.tif")
    with pytest.raises(DataError, match=r"odd\.tif"):
        load(str(tmp_path))


def test_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", ["cifar", "data.csv"])
def test_unknown_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.csv").touch()
    with pytest.raises(DataError, match=name):
        load(name)
