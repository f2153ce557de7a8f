"""A folder of pictures: photos of any size and mode, decoded to bytes of one shape."""

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
_NAMED = 10  # bad files that a message names; it counts the rest
_DARK = 16  # of 255: the white of 12 bits that were stored in 16
_MARGIN = 8  # a random window has 8/9 of the height and width that it is chosen from


@dataclass(frozen=True)
class Framing:
    """What is made of each photo.

    Attributes:
        size: height and width of what networks see; None for photos of one size, as they are.
        crop: of which part: ``"center"``, the largest central square; ``"random"``, a window of that square
            with 8/9 of its side, which is drawn anew each time.
        flip: whether half of what networks see is mirrored, left to right.

    Raises:
        DataError: if the size is below 1, or there is no such crop or none without a size.
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
        """Height and width of the square that is kept of each photo."""
        if self.size is None or self.crop == "center":
            return self.size
        return self.size + -(-self.size // _MARGIN)

    @property
    def augmentation(self) -> Augmentation | None:
        """What is drawn each time a photo is used."""
        if self.crop == "random" and self.size is not None:
            return Augmentation((self.size, self.size), self.flip)
        return Augmentation(flip=True) if self.flip else None


AS_THEY_ARE = Framing()
"""Photos of one size are kept whole."""


class _BadImageError(ValueError):
    """A file that is no image to train on."""


class _OddSizeError(_BadImageError):
    """An image of another size than those before."""


class Photos:
    """The images of a folder and of the folders in it, in order of their paths, to be decoded alike.

    They are RGB if one of them has colours, else grey. What is transparent is white, and photos are turned
    as their EXIF orientation says.

    Args:
        folder: files and folders that are hidden, and those of file managers, are left out.
        framing: what is made of each photo.

    Attributes:
        paths: of the images.
        channels: 1 or 3.

    Raises:
        DataError: if there is no image.
    """

    def __init__(self, folder: Path, framing: Framing) -> None:
        self.folder, self.framing = folder, framing
        self.paths = image_paths(folder)
        self.channels = 3 if any(map(_has_colours, self.paths)) else 1
        self._size: tuple[int, int] | None = None
        self._brightest: int | None = None  # pixel of images of 16 bits, on the scale to 255

    def read(self, rows: Sequence[int]) -> Tensor:
        """Decode images, one after the other, into one tensor.

        Returns:
            uint8 ``[N, channels, H, W]``.

        Raises:
            DataError: if some are unreadable, or they are of several sizes where none is given; the message
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
            raise DataError(_told(bad))
        assert images is not None  # where there is a row, it is bad or good
        return torch.from_numpy(images)

    def check_brightness(self) -> None:
        """Refuse images of 16 bits that come out black, as they use few of the values.

        They would pass for masks, or train a generator of black images.

        Raises:
            DataError: naming the folder and the remedy.
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
            _BadImageError: naming the file and the reason.
        """
        side = self.framing.side
        try:
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")  # of metadata, and of palettes that are transparent
                is_deep = _is_deep(image)
                if side is not None:
                    image.draft(image.mode, (2 * side, 2 * side))  # a large JPEG is not decoded in full
                pixels = _converted(ImageOps.exif_transpose(image), "RGB" if self.channels == 3 else "L")
        except MemoryError:
            raise
        except Exception as error:  # decoders raise what they like of damaged files
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
    """Refuse to frame what is no folder of photos.

    Raises:
        DataError: naming the options.
    """
    if framing not in (None, AS_THEY_ARE) and not path.is_dir():
        raise DataError(f"{path}: is no folder of images; omit --size, --crop and --flip")


def read_folder(folder: Path, framing: Framing) -> Dataset:
    """Read every image of a folder and of the folders in it.

    Raises:
        DataError: as :class:`Photos` and :meth:`Photos.read`.
    """
    photos = Photos(folder, framing)
    images = photos.read(range(len(photos.paths)))
    photos.check_brightness()
    return Dataset(str(folder), black_and_white(images), augmentation=framing.augmentation)


def image_paths(folder: Path) -> list[Path]:
    """Every image of a folder and of the folders in it, but for hidden ones, in order of their paths.

    Symbolic links to folders are followed, unless one leads back to a folder above it.

    Raises:
        DataError: if there is none, or a folder cannot be read.
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
        return False  # it is named when it is decoded


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether it has 16 bits or more; of colours Pillow keeps 8, and the mode does not tell."""
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile)


def _told(bad: list[_BadImageError]) -> str:
    """Which images are bad, and what to do about them."""
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
    """The image in mode L or RGB, on white where it is transparent.

    Raises:
        _BadImageError: if its pixels are numbers of which it cannot be said what is white.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "L" or image.mode == mode:
        return image.convert(mode)
    # what is not RGB comes to grey through it: a palette has no other way
    return image.convert("RGB").convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion cuts 16 bits off at 255."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise _BadImageError(
            f"mode {image.mode}, from {pixels.min():g} to {pixels.max():g}, expected 8 or 16 bits"
        )
    return Image.fromarray(((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
