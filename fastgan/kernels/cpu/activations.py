"""Activations after a layer in C++, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.activations import Activation
from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.layout import room
from fastgan.kernels.native import Codes, address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix, of_size, same_size

_FLOAT = torch.float32
# The values of ActivationKind in csrc/calls.h.
KINDS = Codes("an activation", {"none": 0, "leaky_relu": 1, "tanh": 2, "sigmoid": 3, "maxout": 4})


class Activations(Reference):
    def activate(self, product: Tensor, activation: Activation, into: Tensor | None = None) -> Tensor:
        if not _has_kernel(product, activation):
            return super().activate(product, activation, into)
        z = product.contiguous()
        rows, columns = matrix(z, "product")
        width = width_of_maxout(columns, activation) if activation.kind == "maxout" else columns
        y = room(into, z, rows, width)
        _cpu.activate(
            *(*codes(activation), rows, width, address(z, _FLOAT), address(y, _FLOAT)),
            torch.get_num_threads(),
        )
        return y

    def _product_grad(
        self, grad: Tensor, product: Tensor | None, output: Tensor, activation: Activation
    ) -> Tensor:
        if not _has_kernel(output, activation):
            return super()._product_grad(grad, product, output, activation)
        dy, y = grad.contiguous(), output.contiguous()
        rows, width = matrix(y, "output")
        z = product_of(product, y, activation)
        dz = torch.empty_like(y if z is None else z)
        _cpu.activation_backward(
            *(*codes(activation), rows, width),
            address(same_size(dy, y, "grad"), _FLOAT),
            0 if z is None else address(z, _FLOAT),
            *(address(y, _FLOAT), dz.data_ptr(), torch.get_num_threads()),
        )
        return dz

    def activation_tangent(
        self, change: Tensor, product: Tensor | None, output: Tensor, activation: Activation
    ) -> Tensor:
        if activation.kind != "maxout" or not _has_kernel(output, activation):
            return super().activation_tangent(change, product, output, activation)
        moved, y = change.contiguous(), output.contiguous()
        rows, width = matrix(y, "output")
        z = product_of(product, y, activation)
        assert z is not None
        result = torch.empty_like(y)
        _cpu.maxout_tangent(
            *(activation.pieces, rows, width, address(same_size(moved, z, "change"), _FLOAT)),
            *(address(z, _FLOAT), address(y, _FLOAT), result.data_ptr(), torch.get_num_threads()),
        )
        return result


def _has_kernel(tensor: Tensor, activation: Activation) -> bool:
    return tensor.dtype is _FLOAT and activation.kind != "none"


def product_of(product: Tensor | None, output: Tensor, activation: Activation) -> Tensor | None:
    """The product [N, pieces * M] that an activation's derivative reads: a maxout's; else None."""
    if activation.kind != "maxout":
        return None
    if product is None:
        raise ValueError("a maxout's derivative needs its product, but product is None")
    width_of_maxout(product.shape[-1], activation)
    return of_size(product, output.numel() * activation.pieces, "product").contiguous()


def codes(activation: Activation) -> tuple[int, float, int]:
    """Kind, slope and pieces as the kernels take them."""
    pieces = activation.pieces if activation.kind == "maxout" else 1
    return KINDS[activation.kind], activation.negative_slope, pieces


def width_of_maxout(columns: int, activation: Activation) -> int:
    """The width of a maxout's output, given that of its product."""
    pieces = activation.pieces
    if pieces < 1 or columns % pieces:
        raise ValueError(
            f"a maxout of {pieces} pieces got {columns} columns, expected a multiple of {pieces}"
        )
    return columns // pieces
