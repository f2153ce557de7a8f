"""Calls that update parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.cpu.tape.base import TapeBase


class UpdateCalls(TapeBase):
    """Updates of parameters."""

    def add(self, source: Tensor, to: Tensor) -> None:
        """``to += source``."""
        self._calls.add(self._each(to), self._like(source, to), self._at(to))

    def scale_by(self, x: Tensor, factor: Tensor) -> None:
        """``x *= factor``, which is one element."""
        self._calls.scale_by(self._each(x), self._at(x), self._at(factor, 1))

    def clip_factor(self, grads: Tensor, max_norm: float, to: Tensor) -> None:
        """The factor that limits the norm of gradients, as one element."""
        self._calls.clip_factor(self._at(grads), grads.numel(), max_norm, self._at(to, 1))

    def count(self, count: Tensor) -> None:
        """``count += 1``, one element."""
        self._calls.count(self._at(count, 1))

    def adam(
        self,
        values: Tensor,
        grads: Tensor,
        moments: tuple[Tensor, Tensor],
        average: Tensor | None,
        count: Tensor,
        learning_rate: Tensor,
        average_weight: Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.adam`; ``count`` already counts this step."""
        first, second = moments
        self._calls.adam(
            self._each(values),
            self._at(values),
            self._like(grads, values),
            self._like(first, values),
            self._like(second, values),
            0 if average is None else self._like(average, values),
            self._at(count, 1),
            self._at(learning_rate, 1),
            self._at(average_weight, 1),
            *betas,
            eps,
            weight_decay,
        )

    def sgd(
        self,
        values: Tensor,
        grads: Tensor,
        velocity: Tensor,
        average: Tensor | None,
        learning_rate: Tensor,
        momentum: Tensor,
        average_weight: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.sgd`."""
        self._calls.sgd(
            self._each(values),
            self._at(values),
            self._like(grads, values),
            self._like(velocity, values),
            0 if average is None else self._like(average, values),
            self._at(learning_rate, 1),
            self._at(momentum, 1),
            self._at(average_weight, 1),
        )

    def record(
        self,
        table: Tensor,
        row: Tensor,
        scalars: Sequence[Tensor],
        schedule: Tensor,
        settings: Tensor,
        clock: Tensor,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.record`."""
        self._calls.record(
            [self._at(scalar, 1) for scalar in scalars],
            self._at(table),
            self._at(row, 1, torch.int64),
            self._at(schedule),
            settings.numel(),
            self._at(settings),
            self._at(clock, 1, torch.int64),
        )
