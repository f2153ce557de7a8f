"""Random numbers of a step: for batches, latent vectors and noise.

On a GPU one launch draws all of them with a counter-based generator (Philox 4x32-10: Salmon et al., 2011).
A number depends only on the seed, the step, its kind and its index in the step. On a CPU, PyTorch's generator
draws them call by call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fastgan.kernels import choose


class Draws(Protocol):
    """Random numbers on the device of a run."""

    def begin_step(self, kind: bool) -> None:
        """Begin a step; all steps of one kind make the same draws."""

    def integers(self, high: int, count: int) -> Tensor:
        """int64 ``[count]``, uniform in [0, ``high``)."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """float32, standard normal."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """float32, uniform in [0, 1)."""


class GeneratorDraws:
    """Draws by a ``torch.Generator``, whose state is part of checkpoints."""

    def __init__(self, rng: torch.Generator) -> None:
        self._rng = rng

    def begin_step(self, kind: bool) -> None:
        pass

    def integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self._rng, device=self._rng.device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._rng, device=self._rng.device, dtype=torch.float32)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._rng, device=self._rng.device, dtype=torch.float32)


@dataclass
class _Plan:
    """Number of draws of each kind in a step: integers below ``high``, normal and uniform numbers."""

    integers: int = 0
    normal: int = 0
    uniform: int = 0
    high: int = 1


class CounterDraws:
    """Draws by a counter: the first step of a kind one by one, later steps the same numbers at once.

    Args:
        seed: seed of the run.
        clock: int64 ``[1]`` on the device: the current step.
    """

    def __init__(self, seed: int, clock: Tensor) -> None:
        self._seed, self._clock = seed, clock
        self._plans: dict[bool, _Plan] = {}
        self._drawn, self._planned = _Plan(), _Plan()
        self._room = self._draw(_Plan(), _Plan())

    def begin_step(self, kind: bool) -> None:
        self._planned = self._plans.setdefault(kind, _Plan())
        self._drawn = self._plans[kind] = _Plan()
        self._room = self._draw(self._planned, _Plan())

    def integers(self, high: int, count: int) -> Tensor:
        first = self._drawn.integers
        self._drawn.integers, self._drawn.high = _end(first, count), high
        if self._drawn.integers <= self._planned.integers and high == self._planned.high:
            return self._room[0][first : first + count]
        return self._draw(_Plan(integers=count, high=high), _Plan(integers=first))[0]

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        first, count = self._drawn.normal, math.prod(shape)
        self._drawn.normal = _end(first, count)
        if self._drawn.normal <= self._planned.normal:
            return self._room[1][first : first + count].view(shape)
        return self._draw(_Plan(normal=count), _Plan(normal=first))[1].view(shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        first, count = self._drawn.uniform, math.prod(shape)
        self._drawn.uniform = _end(first, count)
        if self._drawn.uniform <= self._planned.uniform:
            return self._room[2][first : first + count].view(shape)
        return self._draw(_Plan(uniform=count), _Plan(uniform=first))[2].view(shape)

    def _draw(self, count: _Plan, first: _Plan) -> tuple[Tensor, Tensor, Tensor]:
        device = self._clock.device
        room = (
            torch.empty(count.integers, dtype=torch.int64, device=device),
            torch.empty(count.normal, device=device, dtype=torch.float32),
            torch.empty(count.uniform, device=device, dtype=torch.float32),
        )
        if any(len(each) for each in room):
            begins = first.integers, first.normal, first.uniform
            choose(self._clock).draw(*room, begins, count.high, self._seed, self._clock)
        return room


def _end(first: int, count: int) -> int:
    """First index of the next numbers of a kind: a counter gives four numbers."""
    return -(-(first + count) // 4) * 4
