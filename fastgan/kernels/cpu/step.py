"""The optimizers, the norms and the record of a training step in C++."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import SCALARS, _cpu
from fastgan.kernels.native import DTYPES, address, addresses, compute_dtype
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
        _cpu.adam(
            DTYPES[dtype],
            values.numel(),
            address(values, dtype),
            address(same_size(grads, values, "grads"), dtype),
            address(same_size(exp_avg, values, "exp_avg"), dtype),
            address(same_size(exp_avg_sq, values, "exp_avg_sq"), dtype),
            *_followers(values, average, halves),
            _scalar(count, "count"),
            is_first,
            _scalar(learning_rate, "learning_rate"),
            _scalar(average_weight, "average_weight"),
            *betas,
            eps,
            weight_decay,
            torch.get_num_threads(),
        )

    def sgd(
        self,
        values: Tensor,
        grads: Tensor,
        velocity: Tensor,
        learning_rate: Tensor,
        momentum: Tensor,
        average: Tensor | None,
        average_weight: Tensor,
        halves: Tensor | None,
    ) -> None:
        dtype = values.dtype
        _cpu.sgd(
            DTYPES[dtype],
            values.numel(),
            address(values, dtype),
            address(same_size(grads, values, "grads"), dtype),
            address(same_size(velocity, values, "velocity"), dtype),
            *_followers(values, average, halves),
            _scalar(learning_rate, "learning_rate"),
            _scalar(momentum, "momentum"),
            _scalar(average_weight, "average_weight"),
            torch.get_num_threads(),
        )

    def norm(self, x: Tensor, order: int) -> Tensor:
        if order not in (1, 2):
            raise ValueError(f"a norm's order must be 1 or 2, but is {order}")
        x, dtype = x.contiguous(), compute_dtype(x.dtype)
        norm = torch.empty_like(SCALARS[dtype])
        _cpu.vector_norm(
            DTYPES[x.dtype],
            address(x, x.dtype),
            x.numel(),
            order,
            norm.data_ptr(),
            DTYPES[dtype],
            torch.get_num_threads(),
        )
        return norm

    def clip(self, grads: Sequence[Tensor], max_norm: float) -> None:
        for grad in grads:
            if grad.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"grads has a tensor of {grad.dtype}, expected float32 or float64")
        _cpu.clip(
            [address(grad, grad.dtype) for grad in grads],
            [grad.numel() for grad in grads],
            [DTYPES[grad.dtype] for grad in grads],
            max_norm,
            torch.get_num_threads(),
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
        for scalar in scalars:
            of_size(scalar, 1, "a scalar")
        of_size(table, len(table) * len(scalars), "table")
        of_size(schedule, (len(table) + 1) * settings.numel(), "schedule")
        _cpu.record(
            addresses(scalars, _FLOAT),
            address(table, _FLOAT),
            len(table),
            address(of_size(row, 1, "row"), torch.int64),
            address(schedule, _FLOAT),
            settings.numel(),
            address(settings, _FLOAT),
            address(of_size(clock, 1, "clock"), torch.int64),
        )


def _scalar(scalar: Tensor, name: str) -> int:
    return address(of_size(scalar, 1, name), _FLOAT)


def _followers(values: Tensor, average: Tensor | None, halves: Tensor | None) -> tuple[int, int]:
    return (
        0 if average is None else address(same_size(average, values, "average"), values.dtype),
        0 if halves is None else address(same_size(halves, values, "halves"), torch.bfloat16),
    )
