"""Batch norm + leaky ReLU in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.channels import copy_back, of_channels, per_channel
from fastgan.kernels.cpu.module import SCALARS, _cpu
from fastgan.kernels.layout import channel_layout, in_rows
from fastgan.kernels.native import DTYPES, address, address_or_null, compute_dtype, rows_address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix, same_size


class BatchNorm(Reference):
    def batch_norm_statistics(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
    ) -> tuple[Tensor, Tensor]:
        dense, layout, channels_last = channel_layout(input, 1)
        like = SCALARS[compute_dtype(input.dtype)]
        mean, var = like.new_empty(layout[1]), like.new_empty(layout[1])
        running = of_channels(layout[1], running_mean=running_mean, running_var=running_var)
        _cpu.batch_norm_statistics(
            DTYPES[input.dtype],
            *layout,
            address(_rows(dense, channels_last), input.dtype),
            mean.data_ptr(),
            var.data_ptr(),
            *per_channel(running, input),
            momentum,
            torch.get_num_threads(),
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
        if into is None:
            output = torch.empty_like(dense)
            place, stride = output.data_ptr(), layout[1] * layout[2]
        else:
            output, (rows, channels) = into, matrix(input, "input")
            place, stride = rows_address(into, input.dtype, rows, channels, "into")
        numbers = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        _cpu.batch_norm_leaky_relu(
            DTYPES[input.dtype],
            *layout,
            negative_slope,
            eps,
            *per_channel(numbers, input),
            address(_rows(dense, channels_last), input.dtype),
            place,
            stride,
            torch.get_num_threads(),
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
        dense, layout, channels_last = channel_layout(input, 1)
        if input.dim() == 2:
            incoming, (rows, channels) = in_rows(grad), input.shape
            place, stride = rows_address(incoming, input.dtype, rows, channels, "grad")
        else:
            incoming = _rows(same_size(grad, input, "grad"), channels_last).contiguous()
            place, stride = address(incoming, input.dtype), layout[1] * layout[2]
        numbers = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        dx = torch.empty_like(dense) if needs[0] else None
        dweight = torch.empty_like(numbers[2]) if needs[1] and numbers[2] is not None else None
        dbias = torch.empty_like(numbers[3]) if needs[2] and numbers[3] is not None else None
        _cpu.batch_norm_leaky_relu_backward(
            DTYPES[input.dtype],
            *layout,
            negative_slope,
            eps,
            *per_channel(numbers, input),
            place,
            stride,
            address(_rows(dense, channels_last), input.dtype),
            training,
            address_or_null(dx),
            *per_channel((dweight, dbias), input),
            torch.get_num_threads(),
        )
        return dx, dweight, dbias


def _rows(tensor: Tensor, channels_last: bool) -> Tensor:
    return tensor.movedim(1, -1) if channels_last else tensor
