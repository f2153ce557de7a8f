"""Data sets: what is read is what was written, and what cannot be read is named."""

from __future__ import annotations

import gzip
import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fastgan.data.stacked as stacked
from fastgan.data import DataError, Framing, Modes, Transform, load, stream
from fastgan.data.augmentation import Augmentation
from fastgan.data.folder import image_paths
from fastgan.data.idx import read_idx
from fastgan.kernels.pixels import unit_range


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
    distance, mode = torch.cdist(data.transform.inverse(data.samples), data.modes.centers).min(dim=1)
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
        assert data.samples.dtype == (torch.uint8 if array.dtype == np.uint8 else torch.float32)
        assert data.seen(slice(2)).shape == (2, *shape)
        assert data.seen(slice(2)).dtype == torch.float32


def test_points_are_standardized_axis_by_axis_and_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal((1000, 5, -3e-4), (1, 0.97, 1e-6), (500, 3))
    points = np.concatenate([points, np.full((500, 1), 0.1)], axis=1)  # whose mean is not quite 0.1
    np.save(tmp_path / "a.npy", points)
    data = load(str(tmp_path / "a.npy"))
    torch.testing.assert_close(data.samples.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(data.samples.std(0), torch.tensor([1.0, 1, 1, 0]), atol=2e-3, rtol=0)
    back = data.transform.inverse(data.samples)
    torch.testing.assert_close(back, torch.from_numpy(points).float(), rtol=1e-6, atol=0)
    assert (data.transform.inverse(torch.randn(9, 4))[:, 3] == torch.tensor(0.1)).all()
    layer = data.transform.inverse_layer()
    torch.testing.assert_close(layer(data.samples), back, rtol=1e-6, atol=0)
    again = data.under(Transform((40.0,))).under(data.transform)
    torch.testing.assert_close(again.samples[:, :2], data.samples[:, :2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("scale", "offset", "said"),
    [
        ((1.0, 2.0), (0.0,), "scale has 2 numbers and offset 1"),
        ((-1.0,), (0.0,), "scale is .*expected at least 0"),
        ((1.0,), (math.nan,), "offset is .*expected finite numbers"),
        ((), (), "scale is .*expected finite numbers"),
        (1.0, 0.0, "scale is 1.0, expected finite numbers"),
    ],
)
def test_a_transform_that_cannot_be_is_named(scale: Any, offset: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Transform(scale, offset)


def test_floats_in_range_to_within_rounding_are_understood(tmp_path: Path) -> None:
    """One value of -1e-7 does not turn [0, 1] into [-1, 1], nor does 1.0000001 refuse them."""
    images = np.random.default_rng(0).uniform(0, 1, (4, 6, 5))
    images[0, 0, :2] = 0, 1
    np.save(tmp_path / "a.npy", images)
    whole = load(str(tmp_path / "a.npy")).samples
    assert (whole.min(), whole.max()) == (-1, 1)
    images[0, 0, :2] = -1e-7, 1.0000001
    np.save(tmp_path / "b.npy", images)
    assert torch.equal(load(str(tmp_path / "b.npy")).samples, whole)
    np.save(tmp_path / "c.npy", images * 2 - 1)
    torch.testing.assert_close(load(str(tmp_path / "c.npy")).samples, whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32])
def test_masks_are_black_and_white(tmp_path: Path, dtype: type) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (4, 6, 5))
    np.save(tmp_path / "a.npy", mask.astype(dtype))
    seen = load(str(tmp_path / "a.npy")).seen(slice(None))
    assert torch.equal(seen, torch.from_numpy(mask[:, None]).float() * 2 - 1)


def test_one_array_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 6, 5), np.uint8), y=np.arange(4))
    with pytest.raises(DataError, match=r"a.npz: holds 2 arrays; name one of them, as in .*a.npz:x \(x, y\)"):
        load(str(tmp_path / "a.npz"))
    assert load(f"{tmp_path}/a.npz:x").shape == (1, 6, 5)
    with pytest.raises(DataError, match=r"a.npz: holds no array z; it has x, y"):
        load(f"{tmp_path}/a.npz:z")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 2)), "empty"),
        (np.zeros(4), "shape"),
        (np.zeros((4, 3), np.uint8), r"points are floats .convert them., and images"),
        (np.zeros((6, 5, 3), np.uint8), r"shape \(6, 5, 3\), which is one image, expected"),
        (np.linspace(-0.1, 1, 120).reshape(4, 6, 5), r"-0.1 to 1 are neither \[0, 1\] nor \[-1, 1\]"),
        (np.array([[1e9], [1e9 + 10]]), "axis 0 varies by 5 about 1e\\+09, which float32 cannot resolve"),
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
    samples = load(str(tmp_path)).seen(slice(None))
    assert samples.shape == (2, channels, 5, 6)
    assert samples.amax(dim=(1, 2, 3)).tolist() == [-1, 1]


def test_folder_without_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=rf"{tmp_path}.*no image"):
        load(str(tmp_path))


def test_images_of_several_sizes_want_one(tmp_path: Path) -> None:
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    Image.new("L", (7, 5)).save(tmp_path / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png: 7x5, while others are 6x5; give --size, 64"):
        load(str(tmp_path))
    assert load(str(tmp_path), framing=Framing(size=4)).shape == (1, 4, 4)


def test_every_bad_image_is_named_at_once(tmp_path: Path) -> None:
    Image.new("L", (6, 5)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2_000])
    Image.new("F", (6, 5), 0.5).save(tmp_path / "float.tif")
    with pytest.raises(DataError) as caught:
        load(str(tmp_path))
    said = str(caught.value)
    assert "broken.png: not a readable image; " in said
    assert "cut.png: not a readable image (" in said
    assert "float.tif: mode F, from 0.5 to 0.5, expected 8 or 16 bits; replace or remove them" in said
    for number in range(20):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"17\.png.*; and 13 more; replace or remove them") as caught:
        load(str(tmp_path))
    assert str(caught.value).count("not a readable image") == 10


def test_bad_images_and_odd_sizes_are_named_together(tmp_path: Path) -> None:
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    Image.new("L", (7, 5)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        load(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/b.png: 7x5, while others are 6x5; {tmp_path}/c.png: not a readable image; "
        "give --size, 64 for example, to make them of one size and replace or remove what is not readable"
    )
    (tmp_path / "c.png").unlink()
    for number in range(20):
        Image.new("L", (7, 5)).save(tmp_path / f"odd{number}.png")
    with pytest.raises(DataError, match=r"; and 11 more; give --size, 64 .*of one size$") as caught:
        load(str(tmp_path))
    assert str(caught.value).count("7x5, while") == 10


def save_16_bits_of_colour(path: Path, value: int) -> None:
    """Pillow writes none."""
    row = b"\0" + struct.pack(">3H", *[value] * 3) * 6
    chunks = [(b"IHDR", struct.pack(">2I5B", 6, 5, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * 5))]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in [*chunks, (b"IEND", b"")]:
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))


@pytest.mark.parametrize("framing", [None, Framing(size=4)], ids=["whole", "framed"])
@pytest.mark.parametrize(
    ("save", "brightest"),
    [
        (lambda path: Image.fromarray(np.full((5, 6), 255, np.uint16)).save(path / "a.png"), "257"),
        (lambda path: Image.fromarray(np.full((5, 6), 100, np.uint16)).save(path / "a.tif"), "0"),
        (lambda path: Image.fromarray(np.full((5, 6), 200, np.int32)).save(path / "a.tif"), "257"),
        (lambda path: Image.fromarray(np.full((5, 6), 4095, np.uint16)).save(path / "a.png"), "4,112"),
        (lambda path: save_16_bits_of_colour(path / "a.png", 300), "257"),
    ],
    ids=["grey", "nearly black", "32 bits", "12 bits", "colours"],
)
def test_dark_images_of_16_bits_are_no_masks(
    tmp_path: Path, save: Callable[[Path], None], brightest: str, framing: Framing | None
) -> None:
    save(tmp_path)
    with pytest.raises(DataError) as caught:
        load(str(tmp_path), framing=framing)
    assert str(caught.value) == (
        f"{tmp_path}: holds images of 16 bits whose brightest pixel is about {brightest} of 65,535, "
        "so all but black; multiply them (by 16 if they hold 12 bits), or save them with 8 bits"
    )


def test_images_of_16_bits_and_of_colours(tmp_path: Path) -> None:
    save_16_bits_of_colour(tmp_path / "a.png", 77 * 257)
    assert pixel(tmp_path) == [77, 77, 77]


def test_images_of_8_bits_may_be_masks(tmp_path: Path) -> None:
    Image.new("L", (6, 5), 1).save(tmp_path / "a.png")
    assert pixel(tmp_path) == [255]


def pixel(folder: Path, framing: Framing | None = None) -> list[int]:
    """The colour in the middle of a folder's first image."""
    samples = load(str(folder), framing=framing).samples
    return samples[0, :, samples.shape[2] // 2, samples.shape[3] // 2].tolist()


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (Image.new("RGBA", (6, 5), (200, 0, 0, 0)), "a.png", [255, 255, 255]),
        (Image.new("RGBA", (6, 5), (200, 0, 0, 51)), "a.png", [244, 204, 204]),
        (Image.new("LA", (6, 5), (0, 0)), "a.png", [255]),
        (Image.new("L", (6, 5), 77), "a.png", [77]),
        (Image.new("1", (6, 5), 1), "a.png", [255]),
        (Image.new("RGB", (6, 5), (9, 99, 200)).convert("P"), "a.gif", None),
        (Image.new("CMYK", (6, 5), (0, 255, 255, 0)), "a.tif", [255, 0, 0]),
        (Image.fromarray(np.full((5, 6), 257 * 77, np.uint16)), "a.png", [77]),
        (Image.fromarray(np.full((5, 6), 257 * 77, np.int32)), "a.tif", [77]),
        (Image.new("HSV", (6, 5), (0, 255, 255)).convert("RGB"), "a.bmp", [255, 0, 0]),
    ],
    ids=[
        "clear",
        "half clear",
        "grey and clear",
        "grey",
        "1 bit",
        "palette",
        "CMYK",
        "16 bits",
        "32 bits",
        "RGB",
    ],
)
def test_any_mode_is_understood(
    tmp_path: Path, image: Image.Image, name: str, expected: list[int] | None
) -> None:
    image.save(tmp_path / name)
    expected = expected or list(image.convert("RGB").getpixel((3, 2)))  # type: ignore[arg-type]
    assert pixel(tmp_path) == expected


def test_a_palette_may_be_transparent(tmp_path: Path) -> None:
    image = Image.new("P", (6, 5), 0)
    image.putpalette([10, 20, 30])
    image.save(tmp_path / "a.png", transparency=0)
    assert pixel(tmp_path) == [255, 255, 255]


def test_grey_and_coloured_images_are_all_rgb(tmp_path: Path) -> None:
    Image.new("L", (6, 5), 77).save(tmp_path / "a.png")
    Image.new("RGB", (6, 5), (1, 2, 3)).save(tmp_path / "b.png")
    samples = load(str(tmp_path)).samples
    assert samples[:, :, 0, 0].tolist() == [[77, 77, 77], [1, 2, 3]]


@pytest.mark.parametrize("framing", [None, Framing(size=4)], ids=["whole", "framed"])
def test_photos_are_turned_as_exif_says(tmp_path: Path, framing: Framing | None) -> None:
    upright = np.zeros((8, 4), np.uint8)
    upright[:4] = 255  # white above black
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    samples = load(str(tmp_path), framing=framing).samples[0, 0]
    assert samples.shape == (framing.size, framing.size) if framing else (8, 4)
    assert (samples[0] == 255).all()
    assert (samples[-1] == 0).all()


def test_hidden_files_and_those_of_file_managers_are_left_out(tmp_path: Path) -> None:
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    Image.new("L", (6, 5)).save(tmp_path / "sub" / "B.JPG")
    for name in (".thumbnails/a.png", "__MACOSX/a.png", "sub/.cache/a.png", "@eaDir/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"no image")
    for name in (".DS_Store", "._a.png", "Thumbs.db", "sub/._B.JPG", "desktop.ini"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in image_paths(tmp_path)] == ["a.png", "B.JPG"]
    hidden = tmp_path / ".photos"
    hidden.mkdir()
    Image.new("L", (6, 5)).save(hidden / "a.png")
    assert len(load(str(hidden)).samples) == 1  # it was asked for


@pytest.mark.parametrize("unreadable", ["", "sub"])
def test_a_folder_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unreadable: str
) -> None:
    """Root may read any, so another says no."""
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def refuses(path: Any) -> Any:
        if Path(path) == tmp_path / unreadable:
            raise PermissionError(13, os.strerror(13), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuses)
    said = rf"{tmp_path / unreadable}: cannot be read \(Permission denied\); make it readable"
    with pytest.raises(DataError, match=said):
        load(str(tmp_path))


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    photos, other = tmp_path / "photos", tmp_path / "other"
    for folder, name in ((photos, "a.png"), (other / "deep", "b.png")):
        folder.mkdir(parents=True)
        Image.new("L", (6, 5)).save(folder / name)
    (photos / "link").symlink_to(other)
    (photos / "self").symlink_to(photos)
    (photos / "above").symlink_to(tmp_path)
    (other / "deep" / "back").symlink_to(photos)
    (other / "deep" / "up").symlink_to(other)
    (photos / ".hidden").symlink_to(other)
    assert image_paths(photos) == [photos / "a.png", photos / "link" / "deep" / "b.png"]
    (photos / "again").symlink_to(other)
    assert len(image_paths(photos)) == 3  # as other programs have it
    (photos / "a.png").unlink()
    assert [path.name for path in image_paths(Path(os.path.relpath(photos)))] == ["b.png", "b.png"]


def test_photos_are_framed(tmp_path: Path) -> None:
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, 20:40, 1] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    centre = load(str(tmp_path), framing=Framing(size=10))
    assert centre.samples.shape == (1, 3, 10, 10)
    assert (centre.samples[0, 1] > 230).all()  # the square in the middle, nothing squeezed
    assert centre.augmentation is None
    windows = load(str(tmp_path), framing=Framing(size=32, crop="random", flip=True))
    assert windows.samples.shape == (1, 3, 36, 36)
    assert windows.shape == (3, 32, 32)
    assert windows.augmentation == Augmentation((32, 32), flip=True)
    assert torch.equal(windows.seen(slice(1)), unit_range(windows.samples[:, :, 2:34, 2:34]))
    assert load(str(tmp_path), framing=Framing(flip=True)).shape == (3, 20, 60)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 0}, "size is 0, expected at least 1"),
        ({"size": 8, "crop": "top"}, "crop is 'top', expected center or random"),
        ({"crop": "random"}, "crop is 'random', which needs a size; give --size"),
    ],
)
def test_a_framing_that_cannot_be_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Framing(**settings)


@pytest.mark.parametrize("source", ["ring", "digits", "a.npy"])
def test_only_photos_are_framed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((4, 6, 5), np.uint8))
    for open_data in (lambda: load(source, framing=Framing(flip=True)), lambda: stream(source, Framing(8))):
        with pytest.raises(DataError, match=r"omit --size, --crop and --flip|cannot be streamed"):
            open_data()


def test_windows_are_where_their_numbers_say() -> None:
    images = torch.arange(2 * 3 * 5 * 6, dtype=torch.uint8).view(2, 3, 5, 6)
    augmentation = Augmentation((4, 3), flip=True)
    rows = torch.tensor([1, 0, 1])
    numbers = torch.tensor([[0.0, 0.0, 0.1], [0.9999999, 0.9999999, 0.1], [0.5, 0.5, 0.9]])
    drawn = augmentation.draw(images, rows, numbers)
    assert torch.equal(drawn[0], images[1, :, :4, :3])
    assert torch.equal(drawn[1], images[0, :, 1:, 3:])
    assert torch.equal(drawn[2], images[1, :, 1:, 2:5].flip(-1))
    whole = Augmentation(flip=True).draw(images, rows, numbers)
    assert torch.equal(whole, torch.stack([images[1], images[0], images[1].flip(-1)]))


_LOADING = """
import sys
from pathlib import Path
from fastgan.data import Framing, load
def peak():  # resource.getrusage has that of the parent, if it was higher
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
load(sys.argv[1] + "/few", framing=Framing(64))  # what libraries take once
before = peak()
data = load(sys.argv[1] + "/many", framing=Framing(size=int(sys.argv[2])))
print((peak() - before) / data.samples.nbytes, data.samples.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux' /proc")
def test_loading_photos_takes_no_more_than_twice_their_bytes(tmp_path: Path) -> None:
    """In a process of its own, as the peak of one never falls."""
    for folder, count in (("few", 2), ("many", 80)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            Image.new("RGB", (700, 600), (number, 0, 255 - number)).save(tmp_path / folder / f"{number}.png")
    command = [sys.executable, "-c", _LOADING, str(tmp_path), "512"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    share, size = map(float, done.stdout.split())
    assert size == 80 * 3 * 512 * 512
    assert 0.9 < share < 2


@pytest.mark.parametrize("name", ["cifar", "data.csv"])
def test_unknown_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.csv").touch()
    with pytest.raises(DataError, match=name):
        load(name)
