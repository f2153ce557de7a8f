"""CUDA kernels for bias and activation. Matrix products use PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.acts import FORMS, Act, leaky
from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, stream
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size

Layout = tuple[int, int, int]


class Layers(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        dense, layout, channels_last = channel_layout(input, dim)
        output = torch.empty_like(dense)  # keeps the memory format
        if channels_last:
            _bias_act_into(output.movedim(dim, -1), dense.movedim(dim, -1), layout, bias, act)
        else:
            _bias_act_into(output, dense, layout, bias, act)
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
        return _derivative(None, grad, saved, bias, act, dim, with_bias, into)

    def bias_act_curvature(
        self,
        cotangent: Tensor,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        return _derivative(cotangent, grad, saved, bias, act, dim, with_bias, None)

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        output = torch.mm(input, weight.t())
        _bias_act_into(output, output, (*output.shape, 1), bias, act)
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
        arrays = None, masked, output.contiguous()
        layout = (*masked.shape, 1)
        return masked, _mask_into(masked, arrays, layout, None, leaky(negative_slope), with_bias, into)


def _bias_act_into(output: Tensor, input: Tensor, layout: Layout, bias: Tensor | None, act: Act) -> None:
    dtype = input.dtype
    if bias is not None:
        bias = of_size(bias, layout[1], "bias").contiguous()
    if input.numel():
        _cuda.bias_act(
            DTYPES[dtype],
            *layout,
            FORMS[act.form],
            act.alpha,
            act.gain,
            act.clamp,
            address(input, dtype),
            0 if bias is None else address(bias, dtype),
            address(output, dtype),
            stream(input),
        )


def _derivative(
    cotangent: Tensor | None,
    grad: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: Act,
    dim: int,
    with_bias: bool,
    into: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """``grad`` times the slope, or with ``cotangent`` times it and the second derivative; and the sum."""
    dense, layout, channels_last = channel_layout(saved, dim)
    masked = torch.empty_like(dense)
    if channels_last:
        memory = masked.movedim(dim, -1)
        grad, dense = grad.movedim(dim, -1), dense.movedim(dim, -1)
        cotangent = None if cotangent is None else cotangent.movedim(dim, -1)
    else:
        memory = masked
    arrays = None if cotangent is None else cotangent.contiguous(), grad.contiguous(), dense
    return masked, _mask_into(memory, arrays, layout, bias, act, with_bias, into)


def _mask_into(
    masked: Tensor,
    arrays: tuple[Tensor | None, Tensor, Tensor],
    layout: Layout,
    bias: Tensor | None,
    act: Act,
    with_bias: bool,
    into: Tensor | None,
) -> Tensor | None:
    """Write into ``masked``, given cotangent, grad and saved as ``arrays``. Return the bias gradient."""
    cotangent, grad, saved = arrays
    dtype = saved.dtype
    same_size(grad, saved, "grad")
    if cotangent is not None:
        same_size(cotangent, saved, "cotangent")
    if bias is not None:
        bias = of_size(bias, layout[1], "bias").contiguous()
    summed = room(into, saved, layout[1]) if with_bias else None
    if saved.numel() == 0:
        return None if summed is None else summed.zero_()
    partials = counters = None
    on = stream(saved)
    if with_bias:
        sums, count = _cuda.layer_workspace(DTYPES[dtype], *layout)
        partials = saved.new_empty(sums, dtype=compute_dtype(dtype))
        counters = arrivals(saved, count, on[1])
    _cuda.bias_act_backward(
        DTYPES[dtype],
        *layout,
        FORMS[act.form],
        act.alpha,
        act.gain,
        act.clamp,
        0 if cotangent is None else address(cotangent, dtype),
        address(grad, dtype),
        address(saved, dtype),
        0 if bias is None or not act.saves_input else address(bias, dtype),
        address(masked, dtype),
        address_or_null(summed),
        address_or_null(partials),
        address_or_null(counters),
        on,
    )
    return summed
