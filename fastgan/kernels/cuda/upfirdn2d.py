"""CUDA kernels for resampling of images."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cuda.module import _cuda, address, stream
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import DTYPES, compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_upfirdn import MOST_TAPS, Resampling, taps_of
from fastgan.kernels.signals import in_memory_order


class Upfirdn2d(Reference):
    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        size = _output_size(input, filter, resampling)
        n, c, h, w = input.shape
        dense, _, channels_last = channel_layout(input, 1)
        output = torch.empty(
            (n, c, *size),
            dtype=input.dtype,
            device=input.device,
            memory_format=torch.channels_last if channels_last else torch.contiguous_format,
        )
        if output.numel() == 0:
            return output
        dtype = input.dtype if filter.dtype is input.dtype else compute_dtype(input.dtype)
        filter = filter.contiguous()
        _cuda.upfirdn2d(
            DTYPES[input.dtype],
            n if channels_last else n * c,
            h,
            w,
            *size,
            c if channels_last else 1,
            address(in_memory_order(dense, channels_last), input.dtype),
            address(filter, dtype),
            DTYPES[dtype],
            *taps_of(filter),
            filter.dim() == 1,
            resampling.flip_filter,
            *resampling.up,
            *resampling.down,
            resampling.padding[0],
            resampling.padding[2],
            resampling.gain,
            output.data_ptr(),
            stream(input),
        )
        return output


def _output_size(input: Tensor, filter: Tensor, resampling: Resampling) -> tuple[int, int]:
    """Return the height and width of the result; raise ValueError for sizes that kernels do not take."""
    if input.dim() != 4:
        raise ValueError(f"input has shape {list(input.shape)}, expected four dimensions")
    if filter.dim() not in (1, 2) or not all(1 <= size <= MOST_TAPS for size in filter.shape):
        raise ValueError(
            f"filter has shape {list(filter.shape)}, expected one or two dimensions of 1 to {MOST_TAPS} taps"
        )
    if min(*resampling.up, *resampling.down) < 1:
        raise ValueError(f"up is {resampling.up} and down {resampling.down}, expected at least 1")
    size = resampling.size(input.shape[2], input.shape[3], taps_of(filter))
    if min(size) < 1:
        raise ValueError(f"the output has size {size}: the padding crops all of it")
    return size
