"""CUDA kernels for bias and leaky ReLU. Matrix products use PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, stream
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size

Layout = tuple[int, int, int]


class Layers(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        if not act.is_plain:
            return super().bias_act(input, bias, act, dim)
        dense, layout, channels_last = channel_layout(input, dim)
        output = torch.empty_like(dense)  # keeps the memory format
        if channels_last:
            _bias_leaky_relu_into(output.movedim(dim, -1), dense.movedim(dim, -1), layout, bias, act.alpha)
        else:
            _bias_leaky_relu_into(output, dense, layout, bias, act.alpha)
        return output

    def bias_act_backward(
        self,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if not act.is_plain:
            return super().bias_act_backward(grad, saved, bias, act, dim, with_bias, into)
        dense, layout, channels_last = channel_layout(saved, dim)
        masked = torch.empty_like(dense)
        if channels_last:
            rows = masked.movedim(dim, -1), grad.movedim(dim, -1).contiguous(), dense.movedim(dim, -1)
        else:
            rows = masked, grad.contiguous(), dense
        return masked, _mask_into(*rows, layout, act.alpha, with_bias, into)

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        if not act.is_plain:
            return self.bias_act(torch.mm(input, weight.t()), bias, act, 1)
        output = torch.mm(input, weight.t())
        _bias_leaky_relu_into(output, output, (*output.shape, 1), bias, act.alpha)
        return output

    def dgrad_leaky_relu(
        self,
        grad: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        masked = torch.mm(grad, weight)
        layout = (*masked.shape, 1)
        summed = _mask_into(masked, masked, output.contiguous(), layout, negative_slope, with_bias, into)
        return masked, summed


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


def _mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: Layout,
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None,
) -> Tensor | None:
    """Write ``grad`` times the slope into ``masked``, which may be ``grad``. Return the bias gradient."""
    dtype = output.dtype
    same_size(grad, output, "grad")
    summed = room(into, output, layout[1]) if with_bias else None
    if output.numel() == 0:
        return None if summed is None else summed.zero_()
    partials = counters = None
    on = stream(output)
    if with_bias:
        sums, count = _cuda.layer_workspace(DTYPES[dtype], *layout)
        partials = output.new_empty(sums, dtype=compute_dtype(dtype))
        counters = arrivals(output, count, on[1])
    _cuda.bias_leaky_relu_backward(
        DTYPES[dtype],
        *layout,
        negative_slope,
        address(grad, dtype),
        address(output, dtype),
        address(masked, dtype),
        address_or_null(summed),
        address_or_null(partials),
        address_or_null(counters),
        on,
    )
    return summed
