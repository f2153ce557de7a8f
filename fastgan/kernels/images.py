"""Images and filters as arguments of the kernels of upfirdn2d."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.native import DTYPES, address, compute_dtype
from fastgan.kernels.reference_upfirdn import MOST_TAPS, Resampling, taps_of


def output_of(input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
    """Allocate the result of a resampling, in the memory order of the input, which is dense.

    Raise ValueError unless kernels take these sizes and factors.
    """
    if input.dim() != 4:
        raise ValueError(f"input has shape {list(input.shape)}, expected four dimensions")
    if filter.dim() not in (1, 2) or not all(1 <= taps <= MOST_TAPS for taps in filter.shape):
        raise ValueError(f"filter has shape {list(filter.shape)}, expected 1 to {MOST_TAPS} taps per axis")
    if min(*resampling.up, *resampling.down) < 1:
        raise ValueError(f"up is {resampling.up} and down is {resampling.down}, expected at least 1")
    height, width = resampling.size(input.shape[2], input.shape[3], taps_of(filter))
    if height < 1 or width < 1:
        raise ValueError(f"the output would be {height} x {width} pixels, expected at least one")
    order = torch.contiguous_format if input.is_contiguous() else torch.channels_last
    size = (*input.shape[:2], height, width)
    return torch.empty(size, dtype=input.dtype, device=input.device, memory_format=order)


def address_of_filter(filter: Tensor, input: Tensor, device_type: str = "cpu") -> tuple[int, int]:
    """Address and dtype code of a contiguous filter.

    It has the input's dtype, or that in which kernels compute.
    """
    dtype = input.dtype if filter.dtype is input.dtype else compute_dtype(input.dtype)
    return address(filter, dtype, device_type), DTYPES[dtype]
