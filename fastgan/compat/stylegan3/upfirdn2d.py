"""``torch_utils/ops/upfirdn2d.py``."""

from __future__ import annotations

from torch import Tensor

import fastgan
from fastgan.compat.stylegan3.implementations import on
from fastgan.ops.upfirdn2d import Factor, Padding, padding_of, size_of
from fastgan.ops.upfirdn2d import setup_filter as setup_filter

# conv2d_resample.py, next to the original, imports these
_parse_padding = padding_of


def _get_filter_size(f: Tensor | None) -> tuple[int, int]:
    """Width and height."""
    height, width = size_of(f)
    return width, height


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factor = 1,
    down: Factor = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`fastgan.upfirdn2d`. ``impl="ref"`` computes it with PyTorch's operations, as in the original."""
    with on(impl):
        return fastgan.upfirdn2d(x, f, up, down, padding, flip_filter, gain)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`fastgan.filter2d`."""
    with on(impl):
        return fastgan.filter2d(x, f, padding, flip_filter, gain)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Factor = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`fastgan.upsample2d`."""
    with on(impl):
        return fastgan.upsample2d(x, f, up, padding, flip_filter, gain)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Factor = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`fastgan.downsample2d`."""
    with on(impl):
        return fastgan.downsample2d(x, f, down, padding, flip_filter, gain)
