"""The end of a training step by the CUDA kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cuda.pointers import _cuda, address, guarded, stream
from fastgan.kernels.sizes import of_size

_FLOAT = torch.float32


@guarded
def record(
    table: Tensor,
    row: Tensor,
    scalars: list[Tensor],
    schedule: Tensor,
    settings: Tensor,
    clock: Tensor,
) -> None:
    of_size(table, len(table) * len(scalars), "table")
    of_size(schedule, (len(table) + 1) * settings.numel(), "schedule")
    _cuda.record(
        [address(of_size(each, 1, "a scalar"), _FLOAT) for each in scalars],
        address(table, _FLOAT),
        address(of_size(row, 1, "row"), torch.int64),
        address(schedule, _FLOAT),
        settings.numel(),
        address(settings, _FLOAT),
        address(of_size(clock, 1, "clock"), torch.int64),
        stream(table),
    )
