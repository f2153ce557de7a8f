"""Sheets of images, scaled by a whole number of pixels."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fastgan.data.dataset import is_image
from fastgan.files import write_whole
from fastgan.plots.figure import DPI, new_figure, save_figure

GAP = 0.8
"""The grey between images and in empty cells: images often have black or white edges."""

_SIZE = 640  # approximate longer side in pixels
_MIN_WIDTH = 400  # leaves room for a title
_MARGIN = 12
_FONT_SIZE = 18
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG"}


def tile(images: Tensor) -> NDArray[np.float32]:
    """Arrange images row by row in a nearly square sheet with grey gaps.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1] on the CPU, N at least 1, C = 1 or 3.

    Returns:
        ``[rows * (H + 1) - 1, columns * (W + 1) - 1]`` in [0, 1], with a third axis of 3 for RGB.

    Raises:
        ValueError: if there is no image, or the shape differs.
    """
    if len(images) == 0 or not is_image(tuple(images.shape[1:])):
        raise ValueError(
            f"images have shape {list(images.shape)}, expected [N, 1, H, W] or [N, 3, H, W] with N at least 1"
        )
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.full((rows * columns, height + 1, width + 1, channels), GAP, np.float32)
    cells[:count, :height, :width] = (images.clamp(-1, 1).permute(0, 2, 3, 1).numpy() + 1) / 2
    sheet = cells.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    flat: NDArray[np.float32] = sheet.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return flat.squeeze(2) if channels == 1 else flat


def in_bytes(sheet: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A sheet as RGB ``[H, W, 3]``."""
    levels = np.rint(255 * sheet).astype(np.uint8)
    return levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2)


def save_sheet(path: Path, images: Tensor, title: str) -> None:
    """Write a sheet of images with a title, completely or not at all.

    Args:
        path: file to write; the suffix determines the format.
        images: as for :func:`tile`.
        title: title of any length; long ones are wrapped.
    """
    picture = _titled(Image.fromarray(in_bytes(tile(images))), title)
    if path.suffix.lower() in (".pdf", ".svg"):  # Pillow has no SVG, and writes JPEG in PDF
        figure = new_figure(picture.width / DPI, picture.height / DPI)
        figure.figimage(np.asarray(picture))
        save_figure(figure, path)
    else:
        kind = _FORMATS.get(path.suffix.lower(), "PNG")
        write_whole(path, lambda whole: picture.save(whole, kind, quality=95))


def _titled(sheet: Image.Image, title: str) -> Image.Image:
    zoom = max(1, round(_SIZE / max(sheet.size)))
    sheet = sheet.resize((sheet.width * zoom, sheet.height * zoom), Image.Resampling.NEAREST)
    width = max(sheet.width, _MIN_WIDTH)
    # matplotlib's font, as in the other pictures; it is always installed
    font = ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _FONT_SIZE
    )
    lines = _lines(title, font, width)
    line_height = round(1.4 * _FONT_SIZE)
    above = _MARGIN + len(lines) * line_height + _MARGIN // 2
    picture = Image.new("RGB", (width + 2 * _MARGIN, above + sheet.height + _MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((picture.width / 2, _MARGIN + number * line_height), line, "black", font, anchor="ma")
    picture.paste(sheet, ((picture.width - sheet.width) // 2, above))
    return picture


def _lines(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Wrap text to lines of at most ``width`` pixels, at spaces if possible."""
    lines, rest = [], " ".join(text.split())
    while rest:
        fits = next(n for n in range(len(rest), 0, -1) if n == 1 or font.getlength(rest[:n]) <= width)
        end = fits if fits == len(rest) else (rest.rfind(" ", 1, fits + 1) + 1 or fits)
        lines.append(rest[:end].strip())
        rest = rest[end:]
    return lines
