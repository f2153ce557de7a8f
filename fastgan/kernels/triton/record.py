"""The end of a training step: records its statistics and loads the settings of the next step."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size
from fastgan.kernels.triton.launch import for_each_tensor


@for_each_tensor("scalars")
def record_kernel(
    scalars,  # [] each
    table,  # [rows, n]
    row,  # [1]: the row of table to write; incremented
    schedule,  # [rows + 1, SETTINGS]
    settings,  # [SETTINGS]: gets the next row of schedule
    clock,  # [1]: incremented
    SETTINGS: tl.constexpr,
    WIDTH: tl.constexpr,  # power of two, at least SETTINGS
):
    at = tl.load(row)
    for i in tl.static_range(len(scalars)):
        tl.store(table + at * len(scalars) + i, tl.load(scalars[i]))
    lane = tl.arange(0, WIDTH)
    following = tl.load(schedule + (at + 1) * SETTINGS + lane, mask=lane < SETTINGS)
    tl.store(settings + lane, following, mask=lane < SETTINGS)
    tl.debug_barrier()  # wait until every thread has read row
    tl.store(row, at + 1)
    tl.store(clock, tl.load(clock) + 1)


class Record(Reference):
    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: list[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        for t, name in ((row, "row"), (clock, "clock"), *((each, "a scalar") for each in scalars)):
            of_size(t, 1, name)
        of_size(table, len(table) * len(scalars), "table")
        of_size(schedule, (len(table) + 1) * settings.numel(), "schedule")
        count = settings.numel()
        record_kernel.of(len(scalars)).launch(
            1,
            (*scalars, table, row, schedule, settings, clock),
            (),
            (count, triton.next_power_of_2(count)),
            num_warps=1,
        )
