"""Images and filters as arguments of the kernels of upfirdn2d."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.native import DTYPES, address, compute_dtype
from fastgan.kernels.reference_upfirdn import MOST_TAPS, Resampling, taps_of

_MOST_PIXELS = 1 << 30  # along an axis; kernels number them in 32 bits


def resampled_size(input: Tensor, filter: Tensor, resampling: Resampling) -> tuple[int, int]:
    """Return the height and width of a resampled image, after checks of all sizes."""
    if input.dim() != 4:
        raise ValueError(f"input has shape {list(input.shape)}, expected four dimensions")
    if filter.dim() not in (1, 2) or not all(1 <= taps <= MOST_TAPS for taps in filter.shape):
        raise ValueError(
            f"filter has shape {list(filter.shape)}, expected one or two dimensions of 1 to {MOST_TAPS} taps"
        )
    if min(*resampling.up, *resampling.down) < 1:
        raise ValueError(f"up is {resampling.up} and down {resampling.down}, expected numbers from 1 on")
    left, right, top, bottom = resampling.padding
    _, _, height, width = input.shape
    for size, up, before, after in (
        (width, resampling.up[0], left, right),
        (height, resampling.up[1], top, bottom),
    ):
        if size * up + abs(before) + abs(after) > _MOST_PIXELS:
            raise ValueError(
                f"{size} pixels times {up}, padded by {before} and {after}, are more than {_MOST_PIXELS}"
            )
    out_height, out_width = resampling.size(height, width, taps_of(filter))
    if out_height < 1 or out_width < 1:
        raise ValueError(
            f"the result has {out_height} x {out_width} pixels, expected at least one; pass more padding"
        )
    return out_height, out_width


def room_for_images(like: Tensor, size: tuple[int, int], dtype: torch.dtype, channels_last: bool) -> Tensor:
    """Allocate as many images of this height and width."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty((*like.shape[:2], *size), dtype=dtype, device=like.device, memory_format=order)


def address_of_filter(filter: Tensor, input: Tensor, device_type: str = "cpu") -> tuple[int, int]:
    """Address and dtype code of a contiguous filter.

    It has the input's dtype, or that in which kernels compute.
    """
    dtype = input.dtype if filter.dtype is input.dtype else compute_dtype(input.dtype)
    return address(filter, dtype, device_type), DTYPES[dtype]
