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


def encoded_of(codes: Tensor, values: Tensor) -> Encoded:
    """Codes and values of generated rows, copied."""
    return Encoded(codes.cpu().numpy().astype(np.int32), values.cpu().numpy().astype(np.float64))
