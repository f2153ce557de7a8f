"""Layers by the CUDA kernels: what stands between the matrix products, which are PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, stream
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.sizes import of_size, same_size

Layout = tuple[int, int, int]


@guarded
def bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    dense, layout, channels_last = channel_layout(input, dim)
    output = torch.empty_like(dense)  # in the same order
    if channels_last:
        _bias_leaky_relu_into(output.movedim(dim, -1), dense.movedim(dim, -1), layout, bias, negative_slope)
    else:
        _bias_leaky_relu_into(output, dense, layout, bias, negative_slope)
    return output


def _bias_leaky_relu_into(
    output: Tensor, input: Tensor, layout: Layout, bias: Tensor | None, negative_slope: float
) -> None:
    dtype = input.dtype
    if bias is not None:
        bias = of_size(bias, layout[1], "bias").contiguous()
    if input.numel():
        _cuda.bias_leaky_relu_forward(
            DTYPES[dtype],
            *layout,
            negative_slope,
            address(input, dtype),
            0 if bias is None else address(bias, dtype),
            address(output, dtype),
            stream(input),
        )


@guarded
def bias_leaky_relu_backward(
    grad: Tensor,
    output: Tensor,
    negative_slope: float,
    dim: int,
    with_bias: bool,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    dense, layout, channels_last = channel_layout(output, dim)
    masked = torch.empty_like(dense)
    if channels_last:
        rows = masked.movedim(dim, -1), grad.movedim(dim, -1).contiguous(), dense.movedim(dim, -1)
    else:
        rows = masked, grad.contiguous(), dense
    return masked, _mask_into(*rows, layout, negative_slope, with_bias, into)


def _mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: Layout,
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None,
) -> Tensor | None:
    """``masked`` may be ``grad``. Returns the bias gradient."""
    dtype = output.dtype
    same_size(grad, output, "grad")
    summed = room(into, output, layout[1]) if with_bias else None
    if output.numel() == 0:
        return None if summed is None else summed.zero_()
    partials = arrived = None
    on = stream(output)
    if with_bias:
        sums, count = _cuda.layer_workspace(DTYPES[dtype], *layout)
        compute = compute_dtype(dtype)
        partials, arrived = output.new_empty(sums, dtype=compute), arrivals(output, count, on)
    _cuda.bias_leaky_relu_backward(
        DTYPES[dtype],
        *layout,
        negative_slope,
        address(grad, dtype),
        address(output, dtype),
        address(masked, dtype),
        0 if summed is None else summed.data_ptr(),
        0 if partials is None else partials.data_ptr(),
        0 if arrived is None else arrived.data_ptr(),
        on,
    )
    return summed


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mm(input, weight.t()) if bias is None else torch.addmm(bias, input, weight.t())


@guarded
def linear_leaky_relu(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    output = torch.mm(input, weight.t())
    _bias_leaky_relu_into(output, output, (*output.shape, 1), bias, negative_slope)
    return output


def linear_leaky_relu_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dz, db = bias_leaky_relu_backward(grad, output, negative_slope, 1, needs[2])
    return dgrad(dz, weight) if needs[0] else None, wgrad(dz, input) if needs[1] else None, db


def dgrad(grad: Tensor, weight: Tensor) -> Tensor:
    return torch.mm(grad, weight)


@guarded
def dgrad_leaky_relu(
    grad: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    masked = torch.mm(grad, weight)
    layout = (*masked.shape, 1)
    return masked, _mask_into(masked, masked, output.contiguous(), layout, negative_slope, with_bias, into)


def wgrad(grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
    return torch.mm(grad.t(), input, out=into)
