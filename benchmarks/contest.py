"""Times contenders that do the same work in one process.

A machine's speed drifts, so separate timings mislead. Each round runs every contender once, in rotating
order, and ratios are taken within a round.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Run = Callable[[], object]
Sample = Callable[[int], float]  # number of calls -> seconds they take together
MIN_SAMPLE_SECONDS = 2e-3  # long enough that the clock's overhead is negligible
_LONG = 20e-3  # calls of this length need no warm-up call to wake threads and fill caches


@dataclass(frozen=True)
class Effort:
    """At most ``rounds`` rounds; fewer if ``seconds`` have passed, but at least ``least``."""

    rounds: int
    least: int
    seconds: float


IS_QUICK = os.environ.get("FASTGAN_BENCH") == "quick"
QUICK = Effort(7, 5, 0.3)
EFFORT = QUICK if IS_QUICK else Effort(40, 7, 2.0)


@dataclass(frozen=True)
class Result:
    """Seconds per call of each contender in each round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def fastest(self, name: str) -> float:
        return min(self.seconds[name])

    def ratios(self, name: str) -> list[float]:
        """How many times as long as fastgan ``name`` takes in each round."""
        return [
            theirs / ours for theirs, ours in zip(self.seconds[name], self.seconds["fastgan"], strict=True)
        ]

    def ratio(self, name: str) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of :meth:`ratios`."""
        low, middle, high = statistics.quantiles(self.ratios(name), n=4)
        return low, middle, high


def timed(run: Run, finish: Run = lambda: None) -> Sample:
    """A sample that calls ``run`` repeatedly, then ``finish``, which waits for a GPU."""

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        finish()
        return time.perf_counter() - start

    return sample


def contest(
    contenders: dict[str, Sample], effort: Effort = EFFORT, min_seconds: float = MIN_SAMPLE_SECONDS
) -> Result:
    """Runs the rounds. A sample takes about ``min_seconds``, or one call if that is longer."""
    once = {name: _seconds_of_one(sample) for name, sample in contenders.items()}
    calls = {name: max(1, int(min_seconds / seconds)) for name, seconds in once.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    rounds, start = 0, time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        while rounds < effort.least or (
            rounds < effort.rounds and time.perf_counter() - start < effort.seconds
        ):
            turn = rounds % len(names)
            for name in names[turn:] + names[:turn]:
                settle()
                if once[name] < _LONG:
                    contenders[name](1)
                seconds[name].append(contenders[name](calls[name]) / calls[name])
            rounds += 1
    finally:
        gc.enable()
    return Result(seconds)


def settle() -> None:
    """Waits until idle threads stop spinning: libgomp's spin for 9 ms and would slow the next contender."""
    deadline = time.perf_counter() + 0.05
    while time.perf_counter() < deadline:
        start, busy = time.perf_counter(), time.process_time()
        time.sleep(1e-3)
        if time.process_time() - busy < 0.1 * (time.perf_counter() - start):
            return


def check_agreement(outputs: dict[str, list[Tensor]], expected: list[Tensor], rtol: float) -> None:
    """Asserts that every contender's results match the expected ones, in the relative 2-norm."""
    for name, found in outputs.items():
        for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            error = torch.linalg.vector_norm(ours.double() - theirs)
            norm = torch.linalg.vector_norm(theirs)
            assert error <= rtol * norm, f"{name}: result {i} is off by {error / norm:.2e}"


def _seconds_of_one(sample: Sample) -> float:
    sample(1)
    once = sample(1)
    return once if once > _LONG else min(once, *(sample(1) for _ in range(4)))
