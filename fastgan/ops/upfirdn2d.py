"""Upsampling, FIR filtering and downsampling of images in one pass, as in StyleGAN's networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference, reference
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.ops.arguments import check_finite, check_image_filter, check_images, check_room
from fastgan.ops.routing import Function, apply, backend_for, route, wants_graph

Factor = int | Sequence[int]
Padding = int | Sequence[int]


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factor = 1,
    down: Factor = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsample images, filter them, and downsample them (Karras et al. 2019, 2021).

    Zeros are inserted after each pixel, so that there are ``up`` times as many; the image is padded with
    zeros, or cropped; it is convolved with the filter, without further padding; one pixel of ``down`` is
    kept. Along each axis this is ``scipy.signal.upfirdn``, without the ends where the filter leaves the
    image.

    The gradient is another upfirdn, with up and down exchanged, so derivatives of every order exist. Only the
    filter is saved for backward.

    Args:
        x: ``[N, C, H, W]``. Copied unless contiguous or channels_last.
        f: ``[height, width]``, or ``[taps]`` for a filter that is applied along both axes; each axis has 1 to
            32 taps. In the dtype of ``x``, or in float32. None: the filter ``[[1]]``. If it needs a gradient,
            PyTorch's convolutions compute it.
        up: one factor, or those of ``[x, y]``; at least 1.
        down: the same.
        padding: pixels to add to the upsampled image on each side, for both axes, ``[x, y]`` or
            ``[left, right, top, bottom]``. If negative, pixels to crop.
        flip_filter: compute a correlation, not a convolution.
        gain: a factor of the result.

    Returns:
        ``[N, C, out_height, out_width]``, in the dtype and memory order of ``x``, with
        ``out_width = (W * up + left + right - taps) // down + 1``. Half types are computed in float32, and
        rounded once.

    Raises:
        TypeError: an argument is not a float tensor, or dtypes do not fit.
        ValueError: shapes do not fit, devices differ, the filter is too long, a factor is less than 1, or the
            padding leaves less than the filter covers.
    """
    check_images(x, "x")
    filter = _filter(f, x)
    resampling = Resampling(
        _pair(up, "up"), _pair(down, "down"), padding_of(padding), bool(flip_filter), float(gain)
    )
    check_finite(gain, "gain")
    check_room(x, filter, resampling)
    if filter.requires_grad and torch.is_grad_enabled():
        return reference.upfirdn2d(x, filter, resampling)
    backend, is_wired = route(x, filter)
    if is_wired:
        output: Tensor = apply(Upfirdn2d, backend, x, filter, resampling)
        return output
    return backend.upfirdn2d(x, filter, resampling)


def filter2d(
    x: Tensor, f: Tensor | None, padding: Padding = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """:func:`upfirdn2d` that keeps the size, plus ``padding``: the image is padded with half a filter."""
    left, right, top, bottom = padding_of(padding)
    height, width = size_of(f)
    sides = left + width // 2, right + (width - 1) // 2, top + height // 2, bottom + (height - 1) // 2
    return upfirdn2d(x, f, padding=sides, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Factor = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to ``up`` times the size, plus ``padding``, and with its mean kept.

    The result is multiplied by the factors of both axes, as most of the upsampled image is zero.
    """
    (up_x, up_y), (left, right, top, bottom), (height, width) = (
        _pair(up, "up"),
        padding_of(padding),
        size_of(f),
    )
    sides = (
        left + (width + up_x - 1) // 2,
        right + (width - up_x) // 2,
        top + (height + up_y - 1) // 2,
        bottom + (height - up_y) // 2,
    )
    return upfirdn2d(x, f, up=up, padding=sides, flip_filter=flip_filter, gain=gain * up_x * up_y)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Factor = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to one of ``down`` of the size, after adding ``padding``."""
    down_x, down_y = _pair(down, "down")
    left, right, top, bottom = padding_of(padding)
    height, width = size_of(f)
    sides = (
        left + (width - down_x + 1) // 2,
        right + (width - down_x) // 2,
        top + (height - down_y + 1) // 2,
        bottom + (height - down_y) // 2,
    )
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=gain)


def setup_filter(
    f: Tensor | Sequence[float] | Sequence[Sequence[float]] | float | None,
    device: torch.device | str = "cpu",
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Tensor:
    """Return a filter for :func:`upfirdn2d`: float32, ``[height, width]`` or, if separable, ``[taps]``.

    Args:
        f: a filter ``[height, width]``, or ``[taps]`` for both axes, such as ``[1, 3, 3, 1]``. A number, or
            None for 1: a filter of one tap.
        device: where the filter lies.
        normalize: divide the filter by its sum.
        flip_filter: reverse the filter.
        gain: a factor of the image that is filtered.
        separable: whether a filter ``[taps]`` stays one. By default if it has at least 8 taps: a short one is
            faster as ``[taps, taps]``.

    Raises:
        ValueError: ``f`` has no taps or more than two dimensions, it cannot be separable, or ``gain`` is
            negative and it is.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    if taps.dim() > 2 or taps.numel() == 0:
        raise ValueError(f"f must be [height, width] or [taps], but has shape {tuple(taps.shape)}")
    taps = taps.reshape(1) if taps.dim() == 0 else taps
    if taps.dim() == 2 and separable:
        raise ValueError(f"a filter of shape {tuple(taps.shape)} is not separable; pass the taps of one axis")
    if separable is None:
        separable = taps.dim() == 1 and taps.numel() >= 8
    if taps.dim() == 1 and not separable:
        taps = torch.outer(taps, taps)
    if gain < 0 and separable:
        raise ValueError(f"gain must not be negative for a separable filter, but is {gain}")
    check_finite(gain, "gain")
    if normalize:
        if taps.sum() == 0:
            raise ValueError("the taps of f add up to 0, so they cannot be normalized; pass normalize=False")
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.dim())))
    return taps.mul(gain ** (taps.dim() / 2)).to(device)


class Upfirdn2d(Function):
    @staticmethod
    def forward(ctx: Any, backend: Reference, x: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        height, width = x.shape[2:]
        ctx.save_for_backward(filter)
        ctx.call = backend, resampling.backward(height, width, taps_of(filter))
        return backend.upfirdn2d(x, filter, resampling)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (filter,) = ctx.saved_tensors
        backend, resampling = ctx.call
        if wants_graph():
            dx: Tensor = apply(Upfirdn2d, backend, grad, filter, resampling)
        else:
            dx = backend_for(backend, grad).upfirdn2d(grad, filter, resampling)
        return None, dx, None, None


def _filter(f: Tensor | None, x: Tensor) -> Tensor:
    if f is None:
        return x.new_ones(1, 1)
    check_image_filter(f, "f", x, "x")
    return f.to(torch.float64) if x.dtype is torch.float64 else f


def size_of(f: Tensor | None) -> tuple[int, int]:
    """Return the height and width of a filter."""
    if f is None:
        return 1, 1
    if not isinstance(f, Tensor) or f.dim() not in (1, 2):
        raise ValueError(
            f"f must be a tensor [height, width] or [taps], but is {type(f).__name__}"
            + (f" of shape {tuple(f.shape)}" if isinstance(f, Tensor) else "")
        )
    return taps_of(f)


def _pair(factor: Factor, name: str) -> tuple[int, int]:
    """The factors of x and y."""
    pair = tuple(factor) if isinstance(factor, (tuple, list)) else (factor, factor)
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise ValueError(f"{name} must be an integer of at least 1, or [x, y] of such, but is {factor!r}")
    return pair


def padding_of(padding: Padding) -> tuple[int, int, int, int]:
    """Return the pixels to add on the left, right, top and bottom."""
    sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding, padding)
    if len(sides) == 2:
        sides = (sides[0], sides[0], sides[1], sides[1])
    if len(sides) != 4 or not all(isinstance(n, int) for n in sides):
        raise ValueError(
            f"padding must be an integer, [x, y] or [left, right, top, bottom], but is {padding!r}"
        )
    return sides
