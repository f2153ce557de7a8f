"""Snake in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.channels import of_channels, per_channel
from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import DTYPES, address, address_or_null
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


class Snake(Reference):
    def snake(self, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> Tensor:
        dense, layout, channels_last = channel_layout(input, 1)
        output = torch.empty_like(dense)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        _cpu.snake(
            DTYPES[input.dtype],
            *layout,
            channels_last,
            address(in_memory_order(dense, channels_last), input.dtype),
            *per_channel(numbers, input),
            *scale,
            output.data_ptr(),
            torch.get_num_threads(),
        )
        return output

    def snake_backward(
        self, grad: Tensor, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale, needs: Needs
    ) -> Grads:
        dense, layout, channels_last = channel_layout(input, 1)
        grad = incoming(grad, input, channels_last)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        grads = room_for_grads(dense, numbers, needs)
        _cpu.snake_backward(
            DTYPES[input.dtype],
            *layout,
            channels_last,
            address(in_memory_order(dense, channels_last), input.dtype),
            *per_channel(numbers, input),
            *scale,
            address(grad, input.dtype),
            address_or_null(grads[0]),
            *per_channel(grads[1:], input),
            torch.get_num_threads(),
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
        output = torch.empty_like(dense)
        numbers = of_channels(sizes[1], alpha=alpha, beta=beta)
        filters = checked_filters(up_filter, down_filter)
        _cpu.anti_aliased_snake(
            DTYPES[input.dtype],
            *sizes,
            channels_last,
            address(in_memory_order(dense, channels_last), input.dtype),
            *per_channel(numbers, input),
            *scale,
            *addresses_of_filters(filters, input),
            output.data_ptr(),
            torch.get_num_threads(),
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
        sizes = signal_sizes(input)
        dense, _, channels_last = channel_layout(input, 1)
        grad = incoming(grad, input, channels_last)
        numbers = of_channels(sizes[1], alpha=alpha, beta=beta)
        filters = checked_filters(up_filter, down_filter)
        grads = room_for_grads(dense, numbers, needs)
        _cpu.anti_aliased_snake_backward(
            DTYPES[input.dtype],
            *sizes,
            channels_last,
            address(in_memory_order(dense, channels_last), input.dtype),
            *per_channel(numbers, input),
            *scale,
            *addresses_of_filters(filters, input),
            address(grad, input.dtype),
            address_or_null(grads[0]),
            *per_channel(grads[1:], input),
            torch.get_num_threads(),
        )
        return grads
