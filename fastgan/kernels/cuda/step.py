"""CUDA kernels for a training step: Adam, the record of statistics, and random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, stream
from fastgan.kernels.native import DTYPES
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size

_FLOAT = torch.float32


class Step(Reference):
    def adam(
        self,
        values: Tensor,
        grads: Tensor,
        exp_avg: Tensor,
        exp_avg_sq: Tensor,
        count: Tensor,
        is_first: bool,
        learning_rate: Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        dtype = values.dtype
        counter = arrivals(values)
        _cuda.adam(
            DTYPES[dtype],
            values.numel(),
            address(values, dtype),
            address(same_size(grads, values, "grads"), dtype),
            address(same_size(exp_avg, values, "exp_avg"), dtype),
            address(same_size(exp_avg_sq, values, "exp_avg_sq"), dtype),
            0 if average is None else address(same_size(average, values, "average"), dtype),
            0 if halves is None else address(same_size(halves, values, "halves"), torch.bfloat16),
            address(of_size(count, 1, "count"), _FLOAT),
            is_first,
            address(of_size(learning_rate, 1, "learning_rate"), _FLOAT),
            address(of_size(average_weight, 1, "average_weight"), _FLOAT),
            *betas,
            eps,
            weight_decay,
            counter.data_ptr(),
            stream(values),
        )

    def record(
        self,
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

    def draw(
        self,
        integers: Tensor,
        normal: Tensor,
        uniform: Tensor,
        begins: tuple[int, int, int],
        high: int,
        seed: int,
        clock: Tensor,
    ) -> None:
        _cuda.draw(
            address(integers, torch.int64),
            address(normal, _FLOAT),
            address(uniform, _FLOAT),
            (integers.numel(), normal.numel(), uniform.numel()),
            begins,
            high,
            seed,
            address(of_size(clock, 1, "clock"), torch.int64),
            stream(clock),
        )
