"""Encoded tables as tensors of training, and generated rows as encoded tables."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastgan.kernels.spans import Spans, Table
from fastgan.tabular.transform import Encoded, TableTransform


def spans_of(transform: TableTransform) -> Spans:
    """The output layer of a generator of this table."""
    sizes = transform.spans
    softmaxes = [i for i, size in enumerate(sizes) if size > 1]
    return Spans(sizes, tuple(softmaxes[i] for i in transform.conditions))


def table_of(transform: TableTransform, encoded: Encoded, device: torch.device) -> Table:
    """An encoded table on a device, with the rows of each value of a discrete column next to each other."""
    spans, rows = spans_of(transform), len(encoded.codes)
    order = np.empty((len(transform.conditions), rows), np.int32)
    starts = [np.zeros(1, np.int64)]
    for place, (column, span) in enumerate(zip(transform.conditions, spans.conditions, strict=True)):
        own = encoded.codes[:, column]
        order[place] = own.argsort(kind="stable")
        ends = np.bincount(own, minlength=spans.sizes[span]).cumsum()
        starts.append(place * rows + ends)
    return Table(
        spans,
        torch.from_numpy(encoded.codes).to(device),
        torch.from_numpy(encoded.values).to(device, torch.float32),
        torch.from_numpy(order.reshape(-1)).to(device),
        torch.from_numpy(np.concatenate(starts)).to(device),
    )


def encoded_of(rows: Tensor, spans: Spans) -> Encoded:
    """The codes and values of generated rows ``[N, D + C]``: of a softmax, its largest column."""
    parts = rows[:, : spans.width].split(spans.sizes, 1)
    codes = [part.argmax(1) for part in parts if part.shape[1] > 1]
    values = [part.squeeze(1) for part in parts if part.shape[1] == 1]
    none = rows.new_empty(len(rows), 0)
    return Encoded(
        (torch.stack(codes, 1) if codes else none).cpu().numpy().astype(np.int32),
        (torch.stack(values, 1) if values else none).cpu().numpy().astype(np.float64),
    )
