"""Methods of a backend for tables, in plain PyTorch: the output layer's spans, conditions and batches."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.native import in_compute_dtype
from fastgan.kernels.spans import Spans, Table

SMALLEST = 2.0**-25
"""The least uniform number, as the Gumbel distribution's noise for 0 would be infinite."""


class TablesReference:
    """The part of :class:`fastgan.kernels.reference.Reference` that is for tables.

    Arguments that the methods share: ``spans`` with D columns and C conditions; ``conditions``, int64
    ``[N]``, of which each is the number of a condition (one out of range counts as the nearest).
    """

    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor | None,
        temperature: float,
        conditions: Tensor | None,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the activations of ``input [N, D]``, and the cross-entropy or None.

        A span of one column gets tanh, a longer one ``softmax((input + gumbel) / temperature)`` with
        ``gumbel = -log(-log(max(noise, 2**-25)))``. ``noise [N, D]``, float32, is uniform in [0, 1); None for
        no Gumbel noise. With conditions, the cross-entropy is the mean over rows of ``-log
        softmax(input)[condition]`` in the span of the row's condition, without noise: a scalar, float32
        (float64 for float64 input). ``into [N, D]`` receives the activations; its rows may have any stride.
        """
        x = in_compute_dtype(input)
        noisy = x if noise is None else x + _gumbel(noise.to(x.dtype))
        parts = zip(spans.sizes, x.split(spans.sizes, 1), noisy.split(spans.sizes, 1), strict=True)
        activated = [
            torch.tanh(own) if size == 1 else torch.softmax(shifted / temperature, 1)
            for size, own, shifted in parts
        ]
        output = torch.cat(activated, 1).to(input.dtype)
        if into is not None:
            output = into.copy_(output)
        if conditions is None:
            return output, None
        column, own = _columns_of(conditions, spans)
        shares = torch.log_softmax(torch.where(own, x, -torch.inf), 1)
        return output, -shares.gather(1, column.unsqueeze(1)).sum() / max(len(x), 1)

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
        """Return the gradient of the input, ``[N, D]``.

        ``grad [N, D]``, whose rows may have any stride, is the gradient of ``output [N, D]``, likewise;
        ``grad_entropy``, a scalar, is that of the cross-entropy, which needs ``input`` and ``conditions``.
        """
        g, y = in_compute_dtype(grad), in_compute_dtype(output)
        parts = zip(spans.sizes, g.split(spans.sizes, 1), y.split(spans.sizes, 1), strict=True)
        through = [
            dy * (1 - own * own) if size == 1 else own * (dy - (own * dy).sum(1, keepdim=True)) / temperature
            for size, dy, own in parts
        ]
        dx = torch.cat(through, 1)
        if grad_entropy is not None:
            assert input is not None
            assert conditions is not None
            column, own = _columns_of(conditions, spans)
            shares = torch.softmax(torch.where(own, in_compute_dtype(input), -torch.inf), 1)
            chosen = torch.zeros_like(shares).scatter(1, column.unsqueeze(1), 1.0)
            dx = dx + (shares - chosen) * (grad_entropy.to(dx.dtype) / max(len(dx), 1))
        return dx.to(output.dtype)

    def draw_conditions(self, uniform: Tensor, cumulative: Tensor) -> Tensor:
        """Return int64 ``[N]``: the first condition with a cumulative share above each number.

        ``uniform [N]`` is float32, ``cumulative [C]`` float64, ascending, and ends with 1.
        """
        drawn = torch.searchsorted(cumulative, uniform.to(cumulative.dtype), right=True)
        return drawn.clamp_(max=len(cumulative) - 1)

    def table_batch(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        """Draw a row of the table for each number, and write it to ``into [N, D + C]``.

        ``uniform [N]`` is float32 in [0, 1). Row i is drawn among those that have ``conditions[i]``, or, if
        it is None, among all: at ``floor(uniform[i] * count)``, the product in float64. A softmax span is
        written as zeros and a one at the row's code, a tanh span as the row's value, and behind them, in C
        columns, the condition as zeros and a one. Without conditions there are no such columns. ``into`` is
        float32 or float64, and its rows may have any stride.
        """
        spans, rows = table.spans, len(table.codes)
        into.zero_()
        if conditions is None:
            row = (uniform.double() * rows).long().clamp_(max=rows - 1)
        else:
            conditions = conditions.clamp(0, spans.num_conditions - 1)
            first = table.starts[conditions]
            count = table.starts[conditions + 1] - first
            within = torch.minimum((uniform.double() * count).long(), count - 1)
            row = table.order[first + within].long()
            into.scatter_(1, (spans.width + conditions).unsqueeze(1), 1.0)
        layout, _ = spans.tables(into.device)
        is_value = layout[:, 1] == 1
        values, codes = layout[is_value, 0].long(), layout[~is_value, 0].long()
        into[:, values] = table.values[row].to(into.dtype)
        into.scatter_(1, codes + table.codes[row].long(), 1.0)


def _gumbel(noise: Tensor) -> Tensor:
    return -torch.log(-torch.log(noise.clamp(min=SMALLEST)))


def _columns_of(conditions: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """The column of each row's condition, int64 ``[N]``, and whether columns are in its span, ``[N, D]``."""
    _, targets = spans.tables(conditions.device)
    column, first, end = targets[conditions.clamp(0, spans.num_conditions - 1)].unbind(1)
    columns = torch.arange(spans.width, device=conditions.device)
    own = (columns >= first.unsqueeze(1)) & (columns < end.unsqueeze(1))
    return column.long(), own
