"""A chain of float32 layers in one call of C++, if every layer is small enough for our own product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.layers import Layers
from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.layout import room
from fastgan.kernels.native import address, addresses
from fastgan.kernels.sizes import matrix, of_size

_FLOAT = torch.float32


class Chains(Layers):
    chains_layers = True

    def mlp(
        self, input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], negative_slope: float
    ) -> list[Tensor]:
        rows, features = _sizes(input, weights)
        if not products.all_own(input.dtype, rows, features):
            return super().mlp(input, weights, biases, negative_slope)
        x, w = input.contiguous(), list(map(Tensor.contiguous, weights))
        b: list[Tensor | None] = []
        outputs: list[Tensor] = []
        to_biases: list[int] = []
        for i, (bias, m) in enumerate(zip(biases, features[1:], strict=True)):
            b.append(None if bias is None else of_size(bias, m, f"bias {i}").contiguous())
            to_biases.append(0 if bias is None else address(b[i], _FLOAT))  # type: ignore[arg-type]
            outputs.append(torch.empty(rows, m, dtype=_FLOAT, device=CPU))
        _cpu.mlp_forward(
            rows,
            features,
            negative_slope,
            address(x, _FLOAT),
            addresses(w, _FLOAT),
            to_biases,
            list(map(Tensor.data_ptr, outputs)),
            torch.get_num_threads(),
        )
        return outputs

    def mlp_backward(
        self,
        grad: Tensor,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor | None]:
        rows, features = _sizes(input, weights)
        if not products.all_own(input.dtype, rows, features):
            return super().mlp_backward(grad, input, weights, hidden, negative_slope, needs, into)
        call = input, weights, hidden, negative_slope, needs, into
        return _backward(rows, features, grad, None, 0, *call)

    def mlp_backward_of_both(
        self,
        scale: Tensor,
        first_row: int,
        input: Tensor,
        weights: Sequence[Tensor],
        hidden: Sequence[Tensor],
        negative_slope: float,
        needs: Sequence[bool],
        into: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        rows, features = _sizes(input, weights)
        call = input, weights, hidden, negative_slope, needs, into
        if not products.all_own(input.dtype, rows, features):
            return super().mlp_backward_of_both(scale, first_row, *call)
        return _backward(rows, features, torch.ones_like(scale), scale, first_row, *call)


def _backward(
    rows: int,
    features: tuple[int, ...],
    grad: Tensor,
    scale: Tensor | None,
    first_row: int,
    input: Tensor,
    weights: Sequence[Tensor],
    hidden: Sequence[Tensor],
    negative_slope: float,
    needs: Sequence[bool],
    into: Sequence[Tensor | None] | None,
) -> list[Tensor | None]:
    depth = len(weights)
    dy, x, w = grad.contiguous(), input.contiguous(), list(map(Tensor.contiguous, weights))
    h = list(map(Tensor.contiguous, hidden))
    for i, (each, m) in enumerate(zip(h, features[1:-1], strict=True)):
        if each.numel() != rows * m:
            of_size(each, rows * m, f"output {i}")
    s = None if scale is None else of_size(scale, rows, "scale").contiguous()
    if not 0 <= first_row <= rows:
        raise ValueError(f"first_row is {first_row}, expected one of {rows} rows")
    dx = torch.empty(rows - first_row, features[0], dtype=_FLOAT, device=CPU) if needs[0] else None
    grads: list[Tensor | None] = []  # dW_1 ... dW_L, db_1 ... db_L
    rooms = into or [None] * 2 * depth
    for like, need, place in zip([*w, *features[1:]], needs[1:], rooms, strict=True):
        shape = like.shape if isinstance(like, Tensor) else (like,)
        grads.append(room(place, x, *shape) if need else None)
    to_grads = [0 if g is None else g.data_ptr() for g in grads]
    scratch = torch.empty(2 * rows * max(features[1:-1], default=0), dtype=_FLOAT, device=CPU)
    _cpu.mlp_backward(
        rows,
        features,
        negative_slope,
        addresses(w, _FLOAT),
        address(of_size(dy, rows * features[-1], "grad"), _FLOAT),
        address(x, _FLOAT),
        addresses(h, _FLOAT),
        0 if s is None else address(s, _FLOAT),
        first_row,
        0 if dx is None else dx.data_ptr(),
        to_grads[:depth],
        to_grads[depth:],
        scratch.data_ptr(),
        torch.get_num_threads(),
    )
    return [dx, *grads]


def _sizes(input: Tensor, weights: Sequence[Tensor]) -> tuple[int, tuple[int, ...]]:
    """The number of rows, and the width of the input and of each layer."""
    rows, width = matrix(input, "input")
    features = [width]
    for i, weight in enumerate(weights):
        if weight.dim() != 2 or weight.shape[1] != features[-1]:
            matrix(weight, f"weight {i}")  # raises for another number of dimensions
            raise ValueError(
                f"weight {i} has shape {list(weight.shape)}, expected {features[-1]} columns, as "
                + ("the input has" if i == 0 else f"weight {i - 1} has rows")
            )
        features.append(weight.shape[0])
    return rows, tuple(features)
