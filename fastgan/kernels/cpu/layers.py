"""Layers in C++, around the matrix product that products.py chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.acts import FORMS, Act, leaky
from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.cpu.products import Product
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.native import DTYPES, PLAIN, address, address_or_null, addresses, rows_address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import dgrad_sizes, forward_sizes, of_size, same_size, wgrad_sizes

Layout = tuple[int, int, int]


class Layers(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        dense, layout, channels_last = channel_layout(input, dim)
        output = torch.empty_like(dense)  # same memory order; no view: users may change it in place
        rows = (output.movedim(dim, -1), dense.movedim(dim, -1)) if channels_last else (output, dense)
        _bias_act_into(*rows, layout, bias, act)
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

    def product(self, a: Tensor, b: Tensor, bias: Tensor | None = None, into: Tensor | None = None) -> Tensor:
        if a.dtype is not torch.float32:
            return super().product(a, b, bias, into)
        (n, k, m), a, b = forward_sizes(a, b.t(), bias), _dense(a), _dense(b)
        output = torch.empty(n, m, dtype=a.dtype, device=CPU) if into is None else into
        bias = None if bias is None else bias.contiguous()
        (a_row, a_column), (b_row, b_column) = a.stride(), b.stride()
        _cpu.product(
            *(n, m, k),
            *(a.data_ptr(), a_row, a_column),
            *(b.data_ptr(), b_row, b_column),
            0 if bias is None else address(bias, a.dtype),
            *rows_address(output, a.dtype, n, m, "into"),
            0,
            0,
            1.0,
            torch.get_num_threads(),
        )
        return output

    def row_sums(self, matrix: Tensor, into: Tensor | None = None) -> Tensor:
        if matrix.dtype is not torch.float32:
            return super().row_sums(matrix, into)
        matrix = matrix.contiguous()
        rows, columns = matrix.shape
        sums = torch.empty(columns, dtype=matrix.dtype, device=CPU) if into is None else into
        to_sums = address(of_size(sums, columns, "into"), matrix.dtype)
        _cpu.row_sums(rows, columns, address(matrix, matrix.dtype), to_sums, torch.get_num_threads())
        return sums

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        n, k, m = forward_sizes(input, weight, bias)
        product = products.choose("forward", input.dtype, n, k, m)
        if product is Product.OWN:
            return _own_forward(input, weight, bias, act)
        if product is Product.ONEDNN and act.is_plain:
            return products.onednn(input, weight, bias, act.alpha)
        output = products.onednn(input, weight) if product is Product.ONEDNN else torch.mm(input, weight.t())
        _bias_act_into(output, output, (n, m, 1), bias, act)
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
        if products.choose("forward", input.dtype, n, k, m) is Product.OWN:
            return _own_backward(grad, input, weight, output, act, needs)
        return super().linear_leaky_relu_backward(grad, input, weight, output, act, needs)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        n, k, m = forward_sizes(input, weight, bias)
        product = products.choose("forward", input.dtype, n, k, m)
        if product is Product.OWN:
            return _own_forward(input, weight, bias, leaky(1.0))
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
        arrays, layout = (None, masked, output), (*output.shape, 1)
        act = leaky(negative_slope)
        return masked, _derivative_into(masked, arrays, layout, None, act, with_bias, into)

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        n, k, m = wgrad_sizes(grad, input)
        product = products.choose("wgrad", grad.dtype, n, k, m)
        if product is Product.OWN:
            return _product(m, k, n, grad.contiguous(), (1, m), input.contiguous(), into=into)
        if product is Product.ONEDNN:
            found = products.onednn(grad.t(), input.t())
            return found if into is None else into.copy_(found)
        return torch.mm(grad.t(), input, out=into)


def _bias_act_into(output: Tensor, input: Tensor, layout: Layout, bias: Tensor | None, act: Act) -> None:
    """Write the activation of ``input``. Both tensors have ``layout``; they may be the same."""
    dtype = input.dtype
    if bias is None:
        (to_input, to_output), to_bias = addresses((input, output), dtype), 0
    else:
        bias = of_size(bias, layout[1], "bias").contiguous()
        to_input, to_output, to_bias = addresses((input, output, bias), dtype)
    _cpu.bias_act(
        *(DTYPES[dtype], *layout, FORMS[act.form], act.alpha, act.gain, act.clamp),
        *(to_input, to_bias, to_output, torch.get_num_threads()),
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
    result = torch.empty_like(dense)
    memory = result
    if channels_last:
        memory, grad, dense = result.movedim(dim, -1), grad.movedim(dim, -1), dense.movedim(dim, -1)
        cotangent = None if cotangent is None else cotangent.movedim(dim, -1)
    arrays = None if cotangent is None else cotangent.contiguous(), grad.contiguous(), dense
    return result, _derivative_into(memory, arrays, layout, bias, act, with_bias, into)


def _derivative_into(
    result: Tensor,
    arrays: tuple[Tensor | None, Tensor, Tensor],
    layout: Layout,
    bias: Tensor | None,
    act: Act,
    with_bias: bool,
    into: Tensor | None,
) -> Tensor | None:
    """Write into ``result``, which may be grad, given cotangent, grad and saved. Return the bias gradient."""
    cotangent, grad, saved = arrays
    dtype = saved.dtype
    same_size(grad, saved, "grad")
    if cotangent is not None:
        same_size(cotangent, saved, "cotangent")
    bias = of_size(bias, layout[1], "bias").contiguous() if bias is not None and act.saves_input else None
    summed = room(into, saved, layout[1]) if with_bias else None
    _cpu.bias_act_backward(
        *(DTYPES[dtype], *layout, FORMS[act.form], act.alpha, act.gain, act.clamp),
        0 if cotangent is None else address(cotangent, dtype),
        address(grad, dtype),
        address(saved, dtype),
        0 if bias is None else address(bias, dtype),
        address(result, dtype),
        address_or_null(summed),
        torch.get_num_threads(),
    )
    return summed


def _own_forward(input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
    x, w = input.contiguous(), weight.contiguous()
    if bias is None:
        (to_x, to_w), to_bias = addresses((x, w), torch.float32), 0
    else:
        bias = bias.contiguous()
        to_x, to_w, to_bias = addresses((x, w, bias), torch.float32)
    (n, k), m = x.shape, w.shape[0]
    y = x.new_empty(n, m)
    _cpu.linear_forward(
        *(n, k, m, act.alpha, act.gain, act.clamp),
        *(to_x, to_w, to_bias, y.data_ptr(), torch.get_num_threads()),
    )
    return y


def _own_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    act: Act,
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
        act.alpha,
        act.gain,
        act.clamp,
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
        0,
        result.data_ptr(),
        columns,
        0 if output is None else address(same_size(output, result, "output"), torch.float32),
        address_or_null(sums),
        negative_slope,
        torch.get_num_threads(),
    )
    return result


def _dense(matrix: Tensor) -> Tensor:
    """A plain float32 matrix whose rows or columns are contiguous."""
    if type(matrix) not in PLAIN or not matrix.is_cpu or matrix.dtype is not torch.float32:
        address(matrix, torch.float32)  # raises the error
    return matrix if 1 in matrix.stride() else matrix.contiguous()
