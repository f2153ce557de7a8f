"""Calls on rows of tables."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.cpu.tape.base import TapeBase
from fastgan.kernels.sizes import checked_conditions, of_size
from fastgan.kernels.spans import Spans, Table


class TableCalls(TapeBase):
    """Rows of tables, conditions and spans."""

    def draw_conditions(self, uniform: Tensor, cumulative: Tensor, drawn: Tensor) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.draw_conditions`."""
        if not cumulative.numel():
            raise ValueError("cumulative has no shares, expected at least one")
        to_drawn = self._at(drawn, uniform.numel(), torch.int64)
        to_shares = self._at(cumulative, dtype=torch.float64)
        self._calls.draw_conditions(
            self._each(uniform), self._at(uniform), to_shares, cumulative.numel(), to_drawn
        )

    def table_rows(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.table_batch`, into float32."""
        spans, count = table.spans, len(uniform)
        rows = len(table.codes)
        if rows == 0:
            raise ValueError(f"the table has no rows, but a batch of {count} is to be drawn")
        of_spans, targets = self._spans(spans)
        if conditions is None:
            targets = 0, 0
        else:
            of_size(table.order, len(spans.conditions) * rows, "table.order")
            of_size(table.starts, spans.num_conditions + 1, "table.starts")
        self._calls.table_rows(
            *(self._ratio(count), spans.width, rows, *of_spans, *targets),
            *(self._at(table.codes, rows * spans.num_codes, torch.int32), spans.num_codes),
            *(self._at(table.values, rows * spans.num_values), spans.num_values),
            *(self._at(table.order, dtype=torch.int32), table.order.numel()),
            self._at(table.starts, dtype=torch.int64),
            self._conditions(conditions, spans, count),
            self._at(uniform),
            *self._matrix(into, count, spans.width + targets[1]),
        )

    def one_hot(self, conditions: Tensor, to: Tensor) -> None:
        """Conditions, int64 ``[N]``, as zeros and a one: ``[N, C]`` with adjacent columns."""
        count, width = to.shape
        to_conditions = self._at(conditions, count, torch.int64)
        self._calls.one_hot(self._ratio(count), to_conditions, width, *self._matrix(to, count, width))

    def copy_columns(self, source: Tensor, to: Tensor) -> None:
        """``to [N, K] = source``, both with adjacent columns."""
        count, width = to.shape
        matrices = *self._matrix(source, count, width), *self._matrix(to, count, width)
        self._calls.copy_columns(self._ratio(count), width, *matrices)

    def add_columns(self, source: Tensor, to: Tensor) -> None:
        """``to [N, K] += source``, both with adjacent columns."""
        count, width = to.shape
        matrices = *self._matrix(source, count, width), *self._matrix(to, count, width)
        self._calls.add_columns(self._ratio(count), width, *matrices)

    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor,
        temperature: float,
        conditions: Tensor | None,
        output: Tensor,
        entropies: Tensor | None,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.span_activations`; the unit's rows are input's.

        The unit's pieces are multiples of :func:`rows_of_entropy`. ``entropies``, float64, has an element for
        each so many rows, for :meth:`mean_entropy`; None without conditions.
        """
        count = len(input)
        self._one_each(count)
        of_spans, targets = self._spans(spans)
        self._calls.span_activations(
            *(count, spans.width, *of_spans, *targets, temperature),
            self._at(input, count * spans.width),
            self._at(noise, count * spans.width),
            self._conditions(conditions, spans, count),
            *self._matrix(output, count, spans.width),
            0 if entropies is None else self._at(entropies, _parts_of_entropy(count, spans), torch.float64),
        )

    def span_gradients(
        self,
        grad: Tensor,
        input: Tensor | None,
        output: Tensor,
        spans: Spans,
        temperature: float,
        conditions: Tensor | None,
        to: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.span_activations_backward`.

        The gradient of the cross-entropy is 1, or 0 if ``input`` is None.
        """
        count = len(to)
        if input is not None and conditions is None:
            raise ValueError("conditions is None, but the gradient of the cross-entropy needs it")
        of_spans, targets = self._spans(spans)
        self._calls.span_gradients(
            *(self._ratio(count), count, spans.width, *of_spans, *targets, temperature),
            0 if input is None else self._like(input, to),
            self._conditions(conditions, spans, count),
            *self._matrix(output, count, spans.width),
            *self._matrix(grad, count, spans.width),
            self._at(to, count * spans.width),
        )

    def mean_entropy(self, rows: int, spans: Spans, entropies: Tensor, to: Tensor) -> None:
        """The mean cross-entropy of so many rows, as one element."""
        to_entropies = self._at(entropies, _parts_of_entropy(rows, spans), torch.float64)
        self._calls.mean_entropy(rows, spans.width, to_entropies, self._at(to, 1))

    def encode(self, rows: Tensor, spans: Spans, clock: Tensor, codes: Tensor, values: Tensor) -> None:
        """Write the row of an encoded table that each activated row stands for.

        Args:
            rows: ``[N, D]`` with adjacent columns, the unit's rows.
            spans: their spans. Of a softmax, the first largest column counts.
            clock: int64 ``[1]``; the results are block ``clock % B``.
            codes: int32 ``[B, N, softmax spans]``.
            values: ``[B, N, tanh spans]``.
        """
        count, blocks = len(rows), len(codes)
        self._one_each(count)
        of_spans, _ = self._spans(spans)
        matrix = self._matrix(rows, count, spans.width)
        to_clock = self._at(clock, 1, torch.int64)
        to_codes = self._at(codes, blocks * count * spans.num_codes, torch.int32)
        to_values = self._at(values, blocks * count * spans.num_values)
        widths = spans.num_codes, spans.num_values
        self._calls.encode(
            *(count, *of_spans, *matrix, to_clock, blocks), to_codes, widths[0], to_values, widths[1]
        )

    def copy_bytes(self, source: Tensor, to: Tensor) -> None:
        """``to = source``, of any dtype."""
        to_source = self._at(source, to.numel(), to.dtype)
        self._calls.copy_bytes(to.nbytes, to_source, self._at(to, dtype=to.dtype))

    def _conditions(self, conditions: Tensor | None, spans: Spans, count: int) -> int:
        """The address of so many conditions, or 0."""
        if conditions is None:
            return 0
        return self._at(checked_conditions(conditions, spans, count), count, torch.int64)

    def _spans(self, spans: Spans) -> tuple[tuple[int, int], tuple[int, int]]:
        """The addresses and lengths of both tables of spans."""
        of_spans, targets = (self._at(t, dtype=torch.int32) for t in spans.tables(CPU))
        return (of_spans, len(spans.sizes)), (targets, spans.num_conditions)


def rows_of_entropy(spans: Spans) -> int:
    """Rows whose cross-entropies make a partial sum in :meth:`TableCalls.span_activations`."""
    return int(_cpu.rows_of_entropy(spans.width))


def _parts_of_entropy(rows: int, spans: Spans) -> int:
    return -(-rows // rows_of_entropy(spans))
