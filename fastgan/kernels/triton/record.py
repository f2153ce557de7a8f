"""The end of a training step: its statistics are written down, and the next step's settings take effect."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.sizes import of_size
from fastgan.kernels.triton.launch import Kernel

_MOST = 8  # scalars


@triton.jit
def _write(table, at, scalar, column, COLUMNS: tl.constexpr):
    if column < COLUMNS:
        tl.store(table + at * COLUMNS + column, tl.load(scalar))


@Kernel
def record_kernel(
    table, row, schedule, settings, clock, s0, s1, s2, s3, s4, s5, s6, s7,
    COLUMNS: tl.constexpr, SETTINGS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """table [rows, COLUMNS]; schedule [rows + 1, SETTINGS]; settings [SETTINGS]; row, clock [1]; s0 to s7
    are scalars.
    """
    at = tl.load(row)
    _write(table, at, s0, 0, COLUMNS)
    _write(table, at, s1, 1, COLUMNS)
    _write(table, at, s2, 2, COLUMNS)
    _write(table, at, s3, 3, COLUMNS)
    _write(table, at, s4, 4, COLUMNS)
    _write(table, at, s5, 5, COLUMNS)
    _write(table, at, s6, 6, COLUMNS)
    _write(table, at, s7, 7, COLUMNS)
    lane = tl.arange(0, WIDTH)
    following = tl.load(schedule + (at + 1) * SETTINGS + lane, mask=lane < SETTINGS)
    tl.store(settings + lane, following, mask=lane < SETTINGS)
    tl.debug_barrier()  # every thread has read the row
    tl.store(row, at + 1)
    tl.store(clock, tl.load(clock) + 1)


def record(
    table: Tensor,
    row: Tensor,
    scalars: list[Tensor],
    schedule: Tensor,
    settings: Tensor,
    clock: Tensor,
) -> None:
    if len(scalars) > _MOST:
        raise ValueError(f"a step has {len(scalars)} statistics, expected at most {_MOST}")
    for t, name in ((row, "row"), (clock, "clock"), *((each, "a scalar") for each in scalars)):
        of_size(t, 1, name)
    of_size(table, len(table) * len(scalars), "table")
    of_size(schedule, (len(table) + 1) * settings.numel(), "schedule")
    count = settings.numel()
    places = [*scalars, *[table] * (_MOST - len(scalars))]
    record_kernel.launch(
        1,
        (table, row, schedule, settings, clock, *places),
        (),
        (len(scalars), count, triton.next_power_of_2(count)),
        num_warps=1,
    )
