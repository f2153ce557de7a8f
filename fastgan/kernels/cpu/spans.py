"""The output layer of a generator of tables in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import SCALARS, _cpu
from fastgan.kernels.layout import in_rows
from fastgan.kernels.native import DTYPES, address, address_or_null, compute_dtype, rows_address, scalar
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix, of_size, same_size
from fastgan.kernels.spans import Spans


class SpanActivations(Reference):
    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor | None,
        temperature: float,
        conditions: Tensor | None,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        x, dtype = input.contiguous(), input.dtype
        rows, width = _sizes(x, spans, "input")
        output = torch.empty_like(x) if into is None else into
        noise = None if noise is None else same_size(noise, x, "noise").contiguous()
        conditions = None if conditions is None else _conditions(conditions, spans, rows)
        of_spans, targets = spans.tables(x.device)
        entropy = None if conditions is None else torch.empty_like(SCALARS[compute_dtype(dtype)])
        _cpu.span_activations(
            *(DTYPES[dtype], rows, width),
            *(of_spans.data_ptr(), len(of_spans), targets.data_ptr(), len(targets)),
            temperature,
            address(x, dtype),
            0 if noise is None else address(noise, torch.float32),
            address_or_null(conditions),
            *rows_address(output, dtype, rows, width, "into"),
            address_or_null(entropy),
            DTYPES[compute_dtype(dtype)],
            torch.get_num_threads(),
        )
        return output, entropy

    def span_activations_backward(
        self,
        grad: Tensor,
        grad_entropy: Tensor | None,
        input: Tensor | None,
        output: Tensor,
        spans: Spans,
        temperature: float,
        conditions: Tensor | None,
    ) -> Tensor:
        y, dy, dtype = in_rows(output), in_rows(grad), output.dtype
        rows, width = _sizes(y, spans, "output")
        x = None
        if grad_entropy is not None:
            if input is None or conditions is None:
                missing = "input" if input is None else "conditions"
                raise ValueError(f"{missing} is None, but the gradient of the cross-entropy needs it")
            x, conditions = same_size(input, y, "input").contiguous(), _conditions(conditions, spans, rows)
        of_spans, targets = spans.tables(y.device)
        dx = y.new_empty(rows, width)
        _cpu.span_activations_backward(
            *(DTYPES[dtype], rows, width),
            *(of_spans.data_ptr(), len(of_spans), targets.data_ptr(), len(targets)),
            temperature,
            0 if x is None else address(x, dtype),
            address_or_null(conditions),
            *rows_address(y, dtype, rows, width, "output"),
            *rows_address(dy, dtype, rows, width, "grad"),
            *scalar(grad_entropy),
            dx.data_ptr(),
            torch.get_num_threads(),
        )
        return dx


def _sizes(tensor: Tensor, spans: Spans, name: str) -> tuple[int, int]:
    """Rows and columns, after checking that the columns are those of the spans."""
    rows, width = matrix(tensor, name)
    if width != spans.width:
        raise ValueError(f"{name} has {width} columns, expected {spans.width}, as many as the spans")
    return rows, width


def _conditions(conditions: Tensor, spans: Spans, rows: int) -> Tensor:
    """Contiguous conditions, checked."""
    if not spans.conditions:
        raise ValueError("conditions are given, but spans.conditions is empty; name the discrete spans there")
    conditions = of_size(conditions, rows, "conditions").contiguous()
    address(conditions, torch.int64)
    return conditions
