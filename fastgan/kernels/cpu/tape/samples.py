"""Calls that make samples."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.tape.base import FLOAT, TapeBase


class SampleCalls(TapeBase):
    """Samples of a batch, their noise and the points of penalties."""

    def draw(self, to: Tensor, kind: int, begin: int, high: int, seed: int, step: Tensor) -> None:
        """Random numbers as :meth:`fastgan.kernels.reference.Reference.draw` defines them.

        Args:
            to: int64 for integers, otherwise float32.
            kind: 0 for integers in [0, high), 1 for normal and 2 for uniform numbers.
            begin: index of the first number.
            high: exclusive upper bound of integers.
            seed: seed of the run.
            step: int64 ``[1]``: the current step.
        """
        to_numbers = self._at(to, dtype=torch.int64 if kind == 0 else FLOAT)
        to_step = self._at(step, 1, torch.int64)
        self._calls.draw(self._each(to), kind, to_numbers, begin, high, seed, to_step)

    def gather(self, data: Tensor, rows: Tensor, to: Tensor) -> None:
        """``to [N, ...] = data[rows]``; uint8 pixels become numbers in [-1, 1]."""
        is_bytes = data.dtype is torch.uint8
        width = data[0].numel()
        to_data = self._at(data, dtype=torch.uint8 if is_bytes else FLOAT)
        to_rows, to_batch = self._at(rows, dtype=torch.int64), self._at(to, len(rows) * width)
        self._calls.gather(self._ratio(len(rows)), is_bytes, to_data, to_rows, to_batch, width)

    def add_noise(self, samples: Tensor, noise: Tensor, std: Tensor, to: Tensor) -> None:
        """``to = samples + std * noise``; ``std`` is one element."""
        each = self._like(samples, to), self._like(noise, to), self._at(std, 1)
        self._calls.add_noise(self._each(to), *each, self._at(to))

    def scale(self, source: Tensor, factor: float, to: Tensor) -> None:
        """``to = factor * source``."""
        self._calls.scale(self._each(to), self._like(source, to), factor, self._at(to))

    def scale_shift(self, x: Tensor, factor: float, shift: float) -> None:
        """``x = factor * x + shift``, rounded twice."""
        self._calls.scale_shift(self._each(x), self._at(x), factor, shift)

    def fill(self, to: Tensor, value: float) -> None:
        self._calls.fill(self._each(to), self._at(to), value)

    def copy(self, source: Tensor, to: Tensor) -> None:
        self._calls.copy(self._each(to), self._like(source, to), self._at(to))

    def multiply_rows(self, x: Tensor, factors: Tensor, to: Tensor) -> None:
        """``to = x * factors``, for x ``[N, K]`` and factors ``[N, 1]``."""
        count, width = x.shape
        each = self._like(x, to), self._at(factors, count), self._at(to)
        self._calls.multiply_rows(self._ratio(count), *each, width)

    def between(self, real: Tensor, fake: Tensor, share: Tensor, to: Tensor) -> None:
        """As :func:`fastgan.penalties.between`, for real ``[N, K]`` and share ``[N, 1]``."""
        count, width = real.shape
        each = self._like(real, to), self._like(fake, to), self._at(share, count), self._at(to)
        self._calls.between(self._ratio(count), *each, width)

    def around(self, real: Tensor, share: Tensor, noise: Tensor, half_deviation: Tensor, to: Tensor) -> None:
        """As :func:`fastgan.penalties.around`, with half the standard deviation of the real samples."""
        count, width = real.shape
        each = (
            self._like(real, to),
            self._at(share, count),
            self._like(noise, to),
            self._at(half_deviation, 1),
        )
        self._calls.around(self._ratio(count), *each, self._at(to), width)

    def half_deviation(self, real: Tensor, to: Tensor) -> None:
        """Half the standard deviation of all elements, as one element."""
        self._calls.half_deviation(self._at(real), real.numel(), self._at(to, 1))

    def lipschitz(self, slope: Tensor, weight: float, grad: Tensor) -> None:
        """``grad``, the gradient of ``weight * (|slope| - 1)**2`` for each row of slope ``[N, K]``."""
        count, width = slope.shape
        self._calls.lipschitz(self._ratio(count), self._like(slope, grad), self._at(grad), width, weight)
