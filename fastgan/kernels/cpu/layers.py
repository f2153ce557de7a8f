"""Layers in C++, around the matrix product that products.py chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.cpu.products import Product
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.native import DTYPES, address, address_or_null, addresses
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import dgrad_sizes, forward_sizes, of_size, same_size, wgrad_sizes


class Layers(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        if not act.is_plain:
            return super().bias_act(input, bias, act, dim)
        dense, layout, channels_last = channel_layout(input, dim)
        output = torch.empty_like(dense)  # same memory order; no view: users may change it in place
        rows = (output.movedim(dim, -1), dense.movedim(dim, -1)) if channels_last else (output, dense)
        _bias_leaky_relu_into(*rows, layout, bias, act.alpha)
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
            rows = (masked.movedim(dim, -1), grad.movedim(dim, -1).contiguous(), dense.movedim(dim, -1))
        else:
            rows = (masked, grad.contiguous(), dense)
        return masked, _mask_into(*rows, layout, act.alpha, with_bias, into)

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        if not act.is_plain:
            return self.bias_act(self.linear(input, weight, None), bias, act, 1)
        n, k, m = forward_sizes(input, weight, bias)
        product = products.choose("forward", input.dtype, n, k, m)
        if product is Product.OWN:
            return _own_forward(input, weight, bias, act.alpha)
        if product is Product.ONEDNN:
            return products.onednn(input, weight, bias, act.alpha)
        output = torch.mm(input, weight.t())
        _bias_leaky_relu_into(output, output, (n, m, 1), bias, act.alpha)
        return output

    def linear_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        output: Tensor,
        act: Act,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        n, k, m = forward_sizes(input, weight, None)
        of_size(output, n * m, "output")
        if act.is_plain and products.choose("forward", input.dtype, n, k, m) is Product.OWN:
            return _own_backward(grad, input, weight, output, act.alpha, needs)
        return super().linear_leaky_relu_backward(grad, input, weight, output, act, needs)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        n, k, m = forward_sizes(input, weight, bias)
        product = products.choose("forward", input.dtype, n, k, m)
        if product is Product.OWN:
            return _own_forward(input, weight, bias, 1.0)
        if product is Product.ONEDNN:
            return products.onednn(input, weight, bias)
        return torch.mm(input, weight.t()) if bias is None else torch.addmm(bias, input, weight.t())

    def dgrad(self, grad: Tensor, weight: Tensor) -> Tensor:
        n, k, m = dgrad_sizes(grad, weight)
        product = products.choose("dgrad", grad.dtype, n, k, m)
        if product is Product.OWN:
            return _product(n, k, m, grad.contiguous(), (m, 1), weight.contiguous())
        if product is Product.ONEDNN:
            return products.onednn(grad, weight.t())
        return torch.mm(grad, weight)

    def dgrad_leaky_relu(
        self,
        grad: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        n, k, m = dgrad_sizes(grad, weight)
        output = output.contiguous()
        if products.choose("dgrad", grad.dtype, n, k, m) is Product.OWN:
            sums = room(into, output, k) if with_bias else None
            masked = _product(
                n, k, m, grad.contiguous(), (m, 1), weight.contiguous(), output, negative_slope, sums
            )
            return masked, sums
        masked = self.dgrad(grad, weight)
        summed = _mask_into(masked, masked, output, (*output.shape, 1), negative_slope, with_bias, into)
        return masked, summed

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        n, k, m = wgrad_sizes(grad, input)
        product = products.choose("wgrad", grad.dtype, n, k, m)
        if product is Product.OWN:
            return _product(m, k, n, grad.contiguous(), (1, m), input.contiguous(), into=into)
        if product is Product.ONEDNN:
            found = products.onednn(grad.t(), input.t())
            return found if into is None else into.copy_(found)
        return torch.mm(grad.t(), input, out=into)


def _bias_leaky_relu_into(
    output: Tensor, input: Tensor, layout: tuple[int, int, int], bias: Tensor | None, negative_slope: float
) -> None:
    dtype = input.dtype
    if bias is None:
        (to_input, to_output), to_bias = addresses((input, output), dtype), 0
    else:
        bias = of_size(bias, layout[1], "bias").contiguous()
        to_input, to_output, to_bias = addresses((input, output, bias), dtype)
    _cpu.bias_leaky_relu_forward(
        DTYPES[dtype], *layout, negative_slope, to_input, to_bias, to_output, torch.get_num_threads()
    )


def _mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: tuple[int, int, int],
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None,
) -> Tensor | None:
    dtype = output.dtype
    summed = room(into, output, layout[1]) if with_bias else None
    to_grad, to_output, to_masked = addresses((same_size(grad, output, "grad"), output, masked), dtype)
    _cpu.bias_leaky_relu_backward(
        DTYPES[dtype],
        *layout,
        negative_slope,
        to_grad,
        to_output,
        to_masked,
        address_or_null(summed),
        torch.get_num_threads(),
    )
    return summed


def _own_forward(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    x, w = input.contiguous(), weight.contiguous()
    if bias is None:
        (to_x, to_w), to_bias = addresses((x, w), torch.float32), 0
    else:
        bias = bias.contiguous()
        to_x, to_w, to_bias = addresses((x, w, bias), torch.float32)
    (n, k), m = x.shape, w.shape[0]
    y = x.new_empty(n, m)
    _cpu.linear_forward(n, k, m, negative_slope, to_x, to_w, to_bias, y.data_ptr(), torch.get_num_threads())
    return y


def _own_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dy, x, w, y = grad.contiguous(), input.contiguous(), weight.contiguous(), output.contiguous()
    (n, k), m = x.shape, w.shape[0]
    dx = torch.empty_like(x) if needs[0] else None
    dw = torch.empty_like(w) if needs[1] else None
    db = w.new_empty(m) if needs[2] else None
    to_x, to_w, to_dy, to_y = addresses((x, w, same_size(dy, y, "grad"), y), torch.float32)
    _cpu.linear_backward(
        n,
        k,
        m,
        negative_slope,
        to_x,
        to_w,
        to_dy,
        to_y,
        address_or_null(dx),
        address_or_null(dw),
        address_or_null(db),
        torch.get_num_threads(),
    )
    return dx, dw, db


def _product(
    rows: int,
    columns: int,
    depth: int,
    a: Tensor,
    a_strides: tuple[int, int],
    b: Tensor,
    output: Tensor | None = None,
    negative_slope: float = 1.0,
    sums: Tensor | None = None,
    into: Tensor | None = None,
) -> Tensor:
    """``a @ b`` by our own product, masked by leaky ReLU's derivative if an output is given.

    Args:
        a: [rows, depth], accessed with ``a_strides``.
        b: [depth, columns], contiguous.
        output: [rows, columns], the output of the leaky ReLU.
        sums: [columns], receives the result's sums over rows.
        into: [rows, columns], receives the result; allocated if None.
    """
    result = room(into, a, rows, columns)
    _cpu.product(
        rows,
        columns,
        depth,
        address(a, torch.float32),
        *a_strides,
        address(b, torch.float32),
        columns,
        1,
        result.data_ptr(),
        0 if output is None else address(same_size(output, result, "output"), torch.float32),
        address_or_null(sums),
        negative_slope,
        torch.get_num_threads(),
    )
    return result
