"""A chain of float32 layers by one call of C++, where our own product serves each of them (products.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.cpu import products
from fastgan.kernels.cpu.pointers import CPU, _cpu, address
from fastgan.kernels.layout import room
from fastgan.kernels.sizes import matrix, of_size

_FLOAT = torch.float32


def mlp(
    input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], negative_slope: float
) -> list[Tensor] | None:
    rows, features = _sizes(input, weights)
    if not products.serves_whole(input.dtype, rows, features):
        return None
    x, w = input.contiguous(), [each.contiguous() for each in weights]
    b = [
        each if each is None else of_size(each, m, f"bias {i}").contiguous()
        for i, (each, m) in enumerate(zip(biases, features[1:], strict=True))
    ]
    outputs = [torch.empty(rows, m, dtype=_FLOAT, device=CPU) for m in features[1:]]
    _cpu.mlp_forward(
        rows,
        features,
        negative_slope,
        address(x, _FLOAT),
        [address(each, _FLOAT) for each in w],
        [0 if each is None else address(each, _FLOAT) for each in b],
        [each.data_ptr() for each in outputs],
        torch.get_num_threads(),
    )
    return outputs


def mlp_backward(
    grad: Tensor,
    input: Tensor,
    weights: Sequence[Tensor],
    hidden: Sequence[Tensor],
    negative_slope: float,
    needs: Sequence[bool],
    scale: Tensor | None = None,
    first_row: int = 0,
    into: Sequence[Tensor | None] | None = None,
) -> list[Tensor | None] | None:
    (rows, features), depth = _sizes(input, weights), len(weights)
    if not products.serves_whole(input.dtype, rows, features):
        return None
    dy, x, w = grad.contiguous(), input.contiguous(), [each.contiguous() for each in weights]
    h = [
        of_size(each, rows * m, f"output {i}").contiguous()
        for i, (each, m) in enumerate(zip(hidden, features[1:-1], strict=True))
    ]
    s = None if scale is None else of_size(scale, rows, "scale").contiguous()
    if not 0 <= first_row <= rows:
        raise ValueError(f"first_row is {first_row}, expected one of {rows} rows")
    dx = torch.empty(rows - first_row, features[0], dtype=_FLOAT, device=CPU) if needs[0] else None
    rooms = into or [None] * 2 * depth
    shapes = [*(tuple(each.shape) for each in w), *((m,) for m in features[1:])]
    each_grad = [
        room(place, x, *shape) if need else None
        for place, shape, need in zip(rooms, shapes, needs[1:], strict=True)
    ]
    dw, db = each_grad[:depth], each_grad[depth:]
    scratch = torch.empty(2 * rows * max(features[1:-1], default=0), dtype=_FLOAT, device=CPU)
    _cpu.mlp_backward(
        rows,
        features,
        negative_slope,
        [address(each, _FLOAT) for each in w],
        address(of_size(dy, rows * features[-1], "grad"), _FLOAT),
        address(x, _FLOAT),
        [address(each, _FLOAT) for each in h],
        0 if s is None else address(s, _FLOAT),
        first_row,
        0 if dx is None else dx.data_ptr(),
        [0 if each is None else each.data_ptr() for each in dw],
        [0 if each is None else each.data_ptr() for each in db],
        scratch.data_ptr(),
        torch.get_num_threads(),
    )
    return [dx, *dw, *db]


def _sizes(input: Tensor, weights: Sequence[Tensor]) -> tuple[int, tuple[int, ...]]:
    """Rows, and the numbers of features between layers."""
    rows, width = matrix(input, "input")
    features = [width]
    for i, weight in enumerate(weights):
        m, k = matrix(weight, f"weight {i}")
        if k != features[-1]:
            raise ValueError(
                f"weight {i} has shape {list(weight.shape)}, expected {features[-1]} columns, as "
                + ("the input has" if i == 0 else f"weight {i - 1} has rows")
            )
        features.append(m)
    return rows, tuple(features)
