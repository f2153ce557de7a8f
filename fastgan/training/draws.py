"""Random numbers of a run: for batches, latent vectors and noise.

A counter-based generator (Philox 4x32-10: Salmon et al., 2011) draws them on every device. A number depends
only on the seed, the step, its kind (integer, normal or uniform) and its index among the step's numbers of
this kind. So a resumed run needs no state of a generator, and each of several processes draws the numbers of
its own rows.

Streamed data sets take the rows of a batch from the same numbers. What a data set draws itself comes from
torch's, NumPy's and Python's generators, seeded for each batch with the seed, the step, the turn and the
process's rank. The dropout of CTGAN's discriminator (:class:`fastgan.models.ctgan.Dropout`) takes its numbers
from the run's counter too; other dropout layers draw from torch's global generator, whose state is in
checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fastgan.kernels import Reference, choose
from fastgan.training.distributed import World

INTEGERS, NORMAL, UNIFORM = range(3)
"""The kinds of numbers, as in ``Reference.draw``."""

MOST = 2**31
"""The greatest upper bound of integers."""


class Draws(Protocol):
    """A source of latent vectors."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """float32, standard normal."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """float32, uniform in [0, 1)."""


class GeneratorDraws:
    """Draws by a ``torch.Generator``, on its device; not for training."""

    def __init__(self, rng: torch.Generator) -> None:
        self._rng = rng

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._rng, device=self._rng.device, dtype=torch.float32)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._rng, device=self._rng.device, dtype=torch.float32)


class Indices:
    """The indices of a step's numbers, call by call.

    A call's numbers are those of all processes, batch by batch. They begin at a multiple of four after those
    of the call before, as a counter gives four numbers.

    Attributes:
        ends: for each kind, the index at which the next call begins.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.ends = [0, 0, 0]

    def take(self, kind: int, count: int, batches: int = 1) -> list[range]:
        """The indices of this process's numbers in the next call, as few ranges as possible.

        Args:
            kind: ``INTEGERS``, ``NORMAL`` or ``UNIFORM``.
            count: how many numbers this process draws.
            batches: of how many batches; the processes share the rows of each.
        """
        rank, size = self._world.rank, self._world.size
        first, share = self.ends[kind], count // batches
        self.ends[kind] = -(-(first + count * size) // 4) * 4
        if size == 1:
            return [range(first, first + count)]
        begins = [first + (batch * size + rank) * share for batch in range(batches)]
        return [range(begin, begin + share) for begin in begins]


def draw(backend: Reference, kind: int, indices: range, high: int, seed: int, clock: Tensor) -> Tensor:
    """Draw the numbers of a kind that have these indices, as ``Reference.draw`` defines them.

    Args:
        backend: a backend for ``clock``.
        kind: ``INTEGERS``, ``NORMAL`` or ``UNIFORM``.
        indices: consecutive ones.
        high: exclusive upper bound of integers, at most ``MOST``.
        seed: seed of the run.
        clock: int64 ``[1]``: the step.
    """
    begin = indices.start // 4 * 4  # a backend begins at a multiple of four
    begins = (begin, begin, begin)
    sizes = [0, 0, 0]
    sizes[kind] = indices.stop - begin
    room = _empty(sizes, clock.device)
    if sizes[kind]:
        backend.draw(*room, begins, high, seed, clock)
    return room[kind][indices.start - begin :]


@dataclass
class _Plan:
    """The draws of a step: their indices, and the upper bound of the integers."""

    indices: Indices
    high: int = 1


class CounterDraws:
    """Draws the numbers of this process's rows.

    The first step of a kind draws call by call, later ones the same numbers at once. One of several
    processes, whose numbers are not consecutive, always draws call by call.

    Args:
        seed: seed of the run.
        clock: int64 ``[1]`` on the device: the current step.
        world: processes of the run.
    """

    def __init__(self, seed: int, clock: Tensor, world: World | None = None) -> None:
        self._seed, self._clock, self._world = seed, clock, world or World()
        self._plans: dict[bool, _Plan] = {}
        self._plan = self._planned = _Plan(Indices(self._world))
        self._room = _empty([0, 0, 0], clock.device)

    def begin_step(self, kind: bool) -> None:
        """Begin a step; all steps of one kind make the same draws."""
        new = _Plan(Indices(self._world))
        self._planned = self._plans.get(kind, new) if self._world.size == 1 else new
        self._plan = self._plans[kind] = new
        self._room = _empty(self._planned.indices.ends, self._clock.device)
        if any(self._planned.indices.ends):
            begins = 0, 0, 0
            choose(self._clock).draw(*self._room, begins, self._planned.high, self._seed, self._clock)

    def integers(self, high: int, count: int) -> Tensor:
        """int64 ``[count]``, uniform in [0, ``high``): for ``count`` rows of a batch."""
        self._plan.high = high
        return self._next(INTEGERS, count, 1)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """float32 ``[batches, rows of this process, ...]``, standard normal."""
        return self._next(NORMAL, math.prod(shape), shape[0]).view(shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """float32 ``[batches, rows of this process, ...]``, uniform in [0, 1)."""
        return self._next(UNIFORM, math.prod(shape), shape[0]).view(shape)

    def _next(self, kind: int, count: int, batches: int) -> Tensor:
        indices, high = self._plan.indices, self._plan.high
        first = indices.ends[kind]
        parts = indices.take(kind, count, batches)
        is_planned = indices.ends[kind] <= len(self._room[kind])
        if is_planned and (kind != INTEGERS or high == self._planned.high):
            return self._room[kind][first : first + count]
        backend = choose(self._clock)
        drawn = [draw(backend, kind, part, high, self._seed, self._clock) for part in parts]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def _empty(sizes: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors for so many numbers of each kind."""
    return (
        torch.empty(sizes[INTEGERS], dtype=torch.int64, device=device),
        torch.empty(sizes[NORMAL], dtype=torch.float32, device=device),
        torch.empty(sizes[UNIFORM], dtype=torch.float32, device=device),
    )
