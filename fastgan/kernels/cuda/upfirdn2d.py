"""CUDA kernels for resampling of images."""

from __future__ import annotations

from torch import Tensor

from fastgan.kernels.cuda.module import DEVICE_TYPE, _cuda, address, stream
from fastgan.kernels.images import address_of_filter, resampled_size, room_for_images
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import DTYPES
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.kernels.signals import in_memory_order


class Upfirdn2d(Reference):
    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        size = resampled_size(input, filter, resampling)
        n, c, h, w = input.shape
        dense, _, channels_last = channel_layout(input, 1)
        output = room_for_images(dense, size, input.dtype, channels_last)
        if output.numel() == 0:
            return output
        filter = filter.contiguous()
        _cuda.upfirdn2d(
            DTYPES[input.dtype],
            n if channels_last else n * c,
            h,
            w,
            *size,
            c if channels_last else 1,
            address(in_memory_order(dense, channels_last), input.dtype),
            *address_of_filter(filter, input, DEVICE_TYPE),
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
