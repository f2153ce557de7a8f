"""Reads folders of images of any size and mode as uint8 images of one shape."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from fastgan.data.arrays import black_and_white
from fastgan.data.augmentation import Augmentation
from fastgan.data.dataset import DataError, Dataset, reading

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
Crop = Literal["center", "random"]
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN"})
_GREY = frozenset({"1", "L", "I", "I;16", "I;16L", "I;16B", "LA", "La"})
_NAMED = 10  # bad files that a message names; others are only counted
_DARK = 16  # on a scale to 255: white in 12-bit images that are stored with 16 bits
_MARGIN = 8  # random windows are 8/9 as high and wide as the square that contains them


@dataclass(frozen=True)
class Framing:
    """How photos are cropped, scaled and mirrored.

    Attributes:
        size: height and width of samples; None to keep photos, which must then have one size.
        crop: ``"center"`` for the largest central square; ``"random"`` for a new random window of that square
            each time, 8/9 as large.
        flip: whether half of the samples are mirrored, left to right.

    Raises:
        DataError: if the size is below 1, or there is no such crop, or a random crop has no size.
    """

    size: int | None = None
    crop: Crop = "center"
    flip: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise DataError(f"size is {self.size}, expected at least 1")
        if self.crop not in get_args(Crop):
            raise DataError(f"crop is {self.crop!r}, expected {' or '.join(get_args(Crop))}")
        if self.crop == "random" and self.size is None:
            raise DataError("crop is 'random', which needs a size; give --size, 64 for example")

    @property
    def side(self) -> int | None:
        """Height and width to which the central square of a photo is scaled; None to keep photos."""
        if self.size is None or self.crop == "center":
            return self.size
        return self.size + -(-self.size // _MARGIN)

    @property
    def augmentation(self) -> Augmentation | None:
        """The random part of the framing, drawn each time a photo is used."""
        if self.crop == "random" and self.size is not None:
            return Augmentation((self.size, self.size), self.flip)
        return Augmentation(flip=True) if self.flip else None


AS_THEY_ARE = Framing()
"""Keeps photos, which must have one size."""


class _BadImageError(ValueError):
    """A file is not a usable image."""


class _OddSizeError(_BadImageError):
    """An image has another size than the first one."""


class Photos:
    """The images of a folder and its subfolders, in order of their paths.

    All are decoded as RGB if one has colors, else as grey. Transparent parts become white, and photos are
    rotated by their EXIF orientation.

    Args:
        folder: the folder; hidden files and folders, and those of file managers, are ignored.
        framing: how photos are cropped and scaled.

    Attributes:
        paths: paths of the images.
        channels: 1 or 3.
        labels: int64, the number of each image's subfolder, in order of their names; None if an image is in
            no subfolder.
        class_names: names of the subfolders, in this order; empty without labels.

    Raises:
        DataError: if there is no image.
    """

    def __init__(self, folder: Path, framing: Framing) -> None:
        self.folder, self.framing = folder, framing
        self.paths = image_paths(folder)
        self.channels = 3 if any(map(_has_colours, self.paths)) else 1
        self.labels, self.class_names = _classes(folder, self.paths)
        self._size: tuple[int, int] | None = None
        self._brightest: int | None = None  # brightest pixel of 16-bit images, scaled to 255

    def read(self, rows: Sequence[int]) -> Tensor:
        """Decode images.

        Returns:
            uint8 ``[N, channels, H, W]``.

        Raises:
            DataError: if images are unreadable, or have different sizes and the framing has none; the message
                names them.
        """
        images: NDArray[np.uint8] | None = None
        bad: list[_BadImageError] = []
        for place, row in enumerate(rows):
            try:
                pixels = self._decode(self.paths[row])
            except _BadImageError as error:
                bad.append(error)
                continue
            if images is None:
                images = np.empty((len(rows), *pixels.shape), np.uint8)
            images[place] = pixels
        if bad:
            raise DataError(_message(bad))
        assert images is not None  # there is at least one row, and none is bad
        return torch.from_numpy(images)

    def check_brightness(self) -> None:
        """Refuse 16-bit images that are nearly black because they use only low values.

        They would look like masks, or train a generator of black images.

        Raises:
            DataError: names the folder and the remedy.
        """
        if self._brightest is not None and self._brightest <= _DARK:
            raise DataError(
                f"{self.folder}: holds images of 16 bits whose brightest pixel is about "
                f"{self._brightest * 257:,} of 65,535, so all but black; multiply them (by 16 if they hold "
                "12 bits), or save them with 8 bits"
            )

    def _decode(self, path: Path) -> NDArray[np.uint8]:
        """Pixels ``[channels, H, W]``.

        Raises:
            _BadImageError: names the file and the reason.
        """
        side = self.framing.side
        try:
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")  # about metadata and transparent palettes
                is_deep = _is_deep(image)
                if side is not None:
                    image.draft(image.mode, (2 * side, 2 * side))  # decodes a large JPEG at lower resolution
                pixels = _converted(ImageOps.exif_transpose(image), "RGB" if self.channels == 3 else "L")
        except MemoryError:
            raise
        except Exception as error:  # decoders raise various errors for damaged files
            raise _BadImageError(f"{path}: {_reason(error)}") from error
        if is_deep:
            self._brightest = max(self._brightest or 0, int(np.asarray(pixels).max()))
        if side is not None:
            pixels = ImageOps.fit(pixels, (side, side), Image.Resampling.LANCZOS)
        else:
            self._check_size(path, pixels.size)
        array: NDArray[np.uint8] = np.asarray(pixels)
        return np.moveaxis(array.reshape(pixels.height, pixels.width, self.channels), 2, 0)

    def _check_size(self, path: Path, size: tuple[int, int]) -> None:
        self._size = self._size or size
        if size != self._size:
            wanted, found = (f"{width}x{height}" for width, height in (self._size, size))
            raise _OddSizeError(f"{path}: {found}, while others are {wanted}")


def check_framing(path: Path, framing: Framing | None) -> None:
    """Refuse a framing for data other than a folder of photos.

    Raises:
        DataError: names the options.
    """
    if framing not in (None, AS_THEY_ARE) and not path.is_dir():
        raise DataError(f"{path}: is no folder of images; omit --size, --crop and --flip")


def read_folder(folder: Path, framing: Framing) -> Dataset:
    """Read all images of a folder and its subfolders. If all are in subfolders, each of these is a class.

    Raises:
        DataError: as :class:`Photos` and :meth:`Photos.read`.
    """
    photos = Photos(folder, framing)
    images = photos.read(range(len(photos.paths)))
    photos.check_brightness()
    return Dataset(
        str(folder),
        black_and_white(images),
        augmentation=framing.augmentation,
        labels=photos.labels,
        class_names=photos.class_names,
    )


def _classes(folder: Path, paths: Sequence[Path]) -> tuple[Tensor | None, tuple[str, ...]]:
    """``labels`` and ``class_names`` of :class:`Photos`."""
    inside = [path.relative_to(folder).parts for path in paths]
    if any(len(parts) == 1 for parts in inside):
        return None, ()
    names = tuple(sorted({parts[0] for parts in inside}))
    numbers = {name: number for number, name in enumerate(names)}
    return torch.tensor([numbers[parts[0]] for parts in inside]), names


def image_paths(folder: Path) -> list[Path]:
    """Paths of all images in a folder and its subfolders, except hidden ones, in order.

    Symbolic links to folders are followed, unless one leads back to a folder above it.

    Raises:
        DataError: if there is no image, or a folder cannot be read.
    """
    paths = []
    for inside, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if _is_entered(Path(inside, name))]
        paths += [Path(inside, name) for name in names if not name.startswith(".") and _is_image(name)]
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return sorted(paths)


def _unreadable(error: OSError) -> None:
    with reading(Path(error.filename)):
        raise error


def _is_entered(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _SYSTEM_FOLDERS:
        return False
    return not folder.is_symlink() or folder.resolve() not in map(Path.resolve, folder.absolute().parents)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _has_colours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode not in _GREY
    except Exception:
        return False  # decoding will report the error


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image has 16 bits or more per value, even if Pillow reduces it to 8, as for RGB."""
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile)


def _message(bad: list[_BadImageError]) -> str:
    """Names bad images and the remedy."""
    more = [f"and {len(bad) - _NAMED:,} more"] if len(bad) > _NAMED else []
    odd = sum(isinstance(error, _OddSizeError) for error in bad)
    remedies = []
    if odd:
        remedies.append("give --size, 64 for example, to make them of one size")
    if odd < len(bad):
        which = "what is not readable" if odd else "it" if len(bad) == 1 else "them"
        remedies.append(f"replace or remove {which}")
    return "; ".join([*map(str, bad[:_NAMED]), *more, " and ".join(remedies)])


def _reason(error: Exception) -> str:
    if isinstance(error, _BadImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not a readable image"
    return f"not a readable image ({getattr(error, 'strerror', None) or error})"


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode L or RGB, on a white background.

    Raises:
        _BadImageError: if it is unknown which pixel value is white.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "L" or image.mode == mode:
        return image.convert(mode)
    # through RGB: a palette cannot be converted to grey directly
    return image.convert("RGB").convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits to 8; Pillow's own conversion clips at 255."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise _BadImageError(
            f"mode {image.mode}, from {pixels.min():g} to {pixels.max():g}, expected 8 or 16 bits"
        )
    return Image.fromarray(((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
