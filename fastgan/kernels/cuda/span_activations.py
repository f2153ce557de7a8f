"""CUDA kernels for the spans of a table's output layer."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, rows_address, scalar, stream
from fastgan.kernels.layout import in_rows
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
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
        if input.numel() == 0:
            return super().span_activations(input, spans, noise, temperature, conditions, into)
        input, dtype = input.contiguous(), input.dtype
        rows, width = matrix(input, "input")
        output = torch.empty_like(input) if into is None else into
        noise = None if noise is None else same_size(noise, input, "noise").contiguous()
        entropy = partials = counter = None
        on = stream(input)
        if conditions is not None:
            conditions = conditions.contiguous()
            compute = compute_dtype(dtype)
            entropy = input.new_empty((), dtype=compute)
            partials = input.new_empty(_cuda.SPAN_PARTIALS, dtype=compute)
            counter = arrivals(input, 1, on[1])
        _cuda.span_activations(
            DTYPES[dtype],
            *_layout(input, spans),
            temperature,
            address(input, dtype),
            0 if noise is None else address(noise, torch.float32),
            _conditions(conditions, spans, rows),
            *rows_address(output, dtype, rows, width, "into"),
            address_or_null(entropy),
            address_or_null(partials),
            address_or_null(counter),
            on,
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
        rows, width = matrix(output, "output")
        dx = output.new_empty(rows, width)
        if dx.numel() == 0:
            return dx
        grad, output, dtype = in_rows(grad), in_rows(output), output.dtype
        if grad_entropy is None:
            input = conditions = None
        else:
            if input is None or conditions is None:
                missing = "input" if input is None else "conditions"
                raise ValueError(f"{missing} is None, but the gradient of the cross-entropy needs it")
            input, conditions = same_size(input, output, "input").contiguous(), conditions.contiguous()
            grad_entropy = grad_entropy.contiguous()
        _cuda.span_activations_backward(
            DTYPES[dtype],
            *_layout(output, spans),
            temperature,
            0 if input is None else address(input, dtype),
            _conditions(conditions, spans, rows),
            *rows_address(output, dtype, rows, width, "output"),
            *rows_address(grad, dtype, rows, width, "grad"),
            *scalar(grad_entropy),
            dx.data_ptr(),
            stream(dx),
        )
        return dx


def _layout(matrix: Tensor, spans: Spans) -> tuple[int, int, int, int, int, int]:
    """Rows and columns of a matrix, and the tables of its spans with their lengths."""
    rows, width = matrix.shape
    if width != spans.width:
        raise ValueError(f"a matrix has {width} columns, expected {spans.width}, as the spans")
    layout, targets = spans.tables(matrix.device)
    return rows, width, layout.data_ptr(), len(layout), targets.data_ptr(), len(targets)


def _conditions(conditions: Tensor | None, spans: Spans, rows: int) -> int:
    """The address of contiguous conditions, one for each row; 0 for None."""
    if conditions is None:
        return 0
    if not spans.conditions:
        raise ValueError("conditions are given, but spans.conditions is empty")
    return address(of_size(conditions, rows, "conditions"), torch.int64)
