"""Upsampling, filtering and downsampling of images in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.images import address_of_filter, resampled_size, room_for_images
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import DTYPES, address
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_upfirdn import Resampling, taps_of
from fastgan.kernels.signals import in_memory_order


class Upfirdn2d(Reference):
    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        size = resampled_size(input, filter, resampling)
        dense, _, channels_last = channel_layout(input, 1)
        output = room_for_images(dense, size, input.dtype, channels_last)
        samples, channels, in_height, in_width = dense.shape
        planes, inner = (samples, channels) if channels_last else (samples * channels, 1)
        taps = filter.contiguous()
        left, _, top, _ = resampling.padding
        _cpu.upfirdn2d(
            DTYPES[input.dtype],
            (planes, in_height, in_width, *size, inner),
            address(in_memory_order(dense, channels_last), input.dtype),
            *address_of_filter(taps, input),
            taps_of(taps),
            taps.dim() == 1,
            resampling.flip_filter,
            resampling.up,
            resampling.down,
            (left, top),
            resampling.gain,
            output.data_ptr(),
            torch.get_num_threads(),
        )
        return output
