"""CUDA kernels for Snake."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fastgan.kernels import channels
from fastgan.kernels.channels import of_channels
from fastgan.kernels.cuda.module import DEVICE_TYPE, _cuda, address, stream
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_snake import Grads, Needs, Scale
from fastgan.kernels.signals import (
    addresses_of_filters,
    checked_filters,
    in_memory_order,
    incoming,
    room_for_grads,
    signal_sizes,
)

_per_channel = partial(channels.per_channel, device_type=DEVICE_TYPE)


class Snake(Reference):
    def snake(self, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> Tensor:
        dense, layout, channels_last = channel_layout(input, 1)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        output = torch.empty_like(dense)  # keeps the memory format
        if input.numel():
            _cuda.snake(
                DTYPES[input.dtype],
                *layout,
                channels_last,
                address(in_memory_order(dense, channels_last), input.dtype),
                *_per_channel(numbers, input),
                *scale,
                output.data_ptr(),
                stream(input),
            )
        return output

    def snake_backward(
        self, grad: Tensor, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale, needs: Needs
    ) -> Grads:
        if input.numel() == 0:
            return super().snake_backward(grad, input, alpha, beta, scale, needs)
        dense, layout, channels_last = channel_layout(input, 1)
        grad = incoming(grad, input, channels_last)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        grads = room_for_grads(dense, numbers, needs)
        sizes = DTYPES[input.dtype], *layout, channels_last
        partials = _partials(input, _cuda.snake_partials(*sizes), grads)
        _cuda.snake_backward(
            *sizes,
            address(in_memory_order(dense, channels_last), input.dtype),
            *_per_channel(numbers, input),
            *scale,
            address(grad, input.dtype),
            address_or_null(grads[0]),
            *_per_channel(grads[1:], input),
            address_or_null(partials),
            stream(input),
        )
        return grads

    def anti_aliased_snake(
        self,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
    ) -> Tensor:
        sizes = signal_sizes(input)
        dense, _, channels_last = channel_layout(input, 1)
        numbers = of_channels(sizes[1], alpha=alpha, beta=beta)
        filters = checked_filters(up_filter, down_filter)
        described = addresses_of_filters(filters, input, DEVICE_TYPE)
        output = torch.empty_like(dense)
        if input.numel():
            _cuda.anti_aliased_snake(
                DTYPES[input.dtype],
                *sizes,
                channels_last,
                address(in_memory_order(dense, channels_last), input.dtype),
                *_per_channel(numbers, input),
                *scale,
                *described,
                output.data_ptr(),
                stream(input),
            )
        return output

    def anti_aliased_snake_backward(
        self,
        grad: Tensor,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
        needs: Needs,
    ) -> Grads:
        shape = signal_sizes(input)
        filters = checked_filters(up_filter, down_filter)
        described = addresses_of_filters(filters, input, DEVICE_TYPE)
        if input.numel() == 0:
            call = alpha, beta, up_filter, down_filter, scale, needs
            return super().anti_aliased_snake_backward(grad, input, *call)
        dense, _, channels_last = channel_layout(input, 1)
        grad = incoming(grad, input, channels_last)
        numbers = of_channels(shape[1], alpha=alpha, beta=beta)
        grads = room_for_grads(dense, numbers, needs)
        sizes = DTYPES[input.dtype], *shape, channels_last
        partials = _partials(input, _cuda.anti_aliased_snake_partials(*sizes, *described[2]), grads)
        _cuda.anti_aliased_snake_backward(
            *sizes,
            address(in_memory_order(dense, channels_last), input.dtype),
            *_per_channel(numbers, input),
            *scale,
            *described,
            address(grad, input.dtype),
            address_or_null(grads[0]),
            *_per_channel(grads[1:], input),
            address_or_null(partials),
            stream(input),
        )
        return grads


def _partials(input: Tensor, size: int, grads: Grads) -> Tensor | None:
    """Memory for partial sums, if a gradient is a sum."""
    if grads[1] is None and grads[2] is None:
        return None
    return input.new_empty(size, dtype=compute_dtype(input.dtype))
