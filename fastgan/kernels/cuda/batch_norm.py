"""CUDA kernels for batch norm + leaky ReLU."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fastgan.kernels import channels
from fastgan.kernels.channels import copy_back, of_channels
from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import DEVICE_TYPE, _cuda, address, rows_address, stream
from fastgan.kernels.layout import channel_layout, in_rows
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix, same_size

_per_channel = partial(channels.per_channel, device_type=DEVICE_TYPE)


class BatchNorm(Reference):
    def batch_norm_statistics(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
    ) -> tuple[Tensor, Tensor]:
        if input.numel() == 0:
            return super().batch_norm_statistics(input, running_mean, running_var, momentum)
        dense, layout, channels_last = channel_layout(input, 1)
        running = of_channels(layout[1], running_mean=running_mean, running_var=running_var)
        compute, on = compute_dtype(input.dtype), stream(input)
        mean, var = (input.new_empty(layout[1], dtype=compute) for _ in range(2))
        partials, counters = _workspace(input, layout, 3, on)
        _cuda.batch_norm_statistics(
            DTYPES[input.dtype],
            *layout,
            address(_in_memory_order(dense, channels_last), input.dtype),
            mean.data_ptr(),
            var.data_ptr(),
            *_per_channel(running, input),
            momentum,
            partials.data_ptr(),
            counters.data_ptr(),
            on,
        )
        copy_back(running, (running_mean, running_var))
        return mean, var

    def batch_norm_leaky_relu(
        self,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        into: Tensor | None = None,
    ) -> Tensor:
        dense, layout, channels_last = channel_layout(input, 1)
        numbers = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        if into is None:
            output = torch.empty_like(dense)  # keeps the memory format
            place = output.data_ptr(), layout[1]
        else:
            output, place = into, rows_address(into, input.dtype, *matrix(input, "input"), "into")
        if input.numel():
            _cuda.batch_norm_leaky_relu(
                DTYPES[input.dtype],
                *layout,
                negative_slope,
                eps,
                *_per_channel(numbers, input),
                address(_in_memory_order(dense, channels_last), input.dtype),
                *place,
                stream(input),
            )
        return output

    def batch_norm_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        training: bool,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if input.numel() == 0:
            call = mean, var, weight, bias, eps, negative_slope, training, needs
            return super().batch_norm_leaky_relu_backward(grad, input, *call)
        dense, layout, channels_last = channel_layout(input, 1)
        incoming = same_size(grad, input, "grad")
        if input.dim() == 2:
            incoming = in_rows(incoming)
            place = rows_address(incoming, input.dtype, *layout[:2], "grad")
        else:
            incoming = _in_memory_order(incoming, channels_last).contiguous()
            place = address(incoming, input.dtype), layout[1]
        numbers = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        dx = torch.empty_like(dense) if needs[0] else None
        dweight, dbias = (
            torch.empty_like(each) if need and each is not None else None
            for need, each in zip(needs[1:], numbers[2:], strict=True)
        )
        averages = partials = counters = None
        on = stream(input)
        if training and needs[0]:
            averages = input.new_empty(2 * layout[1], dtype=compute_dtype(input.dtype))
        if any(each is not None for each in (dweight, dbias, averages)):
            partials, counters = _workspace(input, layout, 2, on)
        elif dx is None:
            return None, None, None
        _cuda.batch_norm_leaky_relu_backward(
            DTYPES[input.dtype],
            *layout,
            negative_slope,
            eps,
            *_per_channel(numbers, input),
            *place,
            address(_in_memory_order(dense, channels_last), input.dtype),
            address_or_null(dx),
            *_per_channel((dweight, dbias), input),
            address_or_null(averages),
            address_or_null(partials),
            address_or_null(counters),
            on,
        )
        return dx, dweight, dbias


def _in_memory_order(tensor: Tensor, channels_last: bool) -> Tensor:
    return tensor.movedim(1, -1) if channels_last else tensor


def _workspace(
    input: Tensor, layout: tuple[int, int, int], kinds: int, on: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Memory for so many kinds of partial results, and counters."""
    size, count = _cuda.layer_workspace(DTYPES[input.dtype], *layout)
    partials = input.new_empty(kinds * size, dtype=compute_dtype(input.dtype))
    return partials, arrivals(input, count, on[1])
