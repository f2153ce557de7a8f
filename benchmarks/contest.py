"""Contenders that do the same work, timed in turn in one process.

A machine's speed drifts, so single times mislead: each round runs every contender once, in an order that
rotates, and ratios are taken within a round.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Run = Callable[[], None]
MIN_SAMPLE_SECONDS = 2e-3  # many calls a sample where one is short, so that the clock does not show


@dataclass(frozen=True)
class Result:
    """Seconds a call: each contender's in each round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, ours: str = "fastgan") -> tuple[float, float, float]:
        """How many times longer ``name`` takes than ours: lower quartile, median, upper quartile."""
        ratios = [theirs / own for theirs, own in zip(self.seconds[name], self.seconds[ours], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        return low, middle, high


def contest(
    contenders: dict[str, Run],
    rounds: int,
    finish: Run = lambda: None,
    min_seconds: float = MIN_SAMPLE_SECONDS,
) -> Result:
    """``finish`` ends a sample: on a GPU it waits for it. A sample takes ``min_seconds`` or one call."""
    calls = {name: _calls(run, finish, min_seconds) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    gc.collect()
    gc.disable()
    try:
        for index in range(rounds):
            turn = index % len(names)
            for name in names[turn:] + names[:turn]:
                seconds[name].append(_time(contenders[name], calls[name], finish))
    finally:
        gc.enable()
    return Result(seconds)


def check_agreement(outputs: dict[str, list[Tensor]], rtol: float = 1e-4) -> None:
    """Every contender's results against the reference's, in the relative 2-norm."""
    expected = outputs["reference"]
    for name, found in outputs.items():
        for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            error = torch.linalg.vector_norm(ours.double() - theirs.double())
            norm = torch.linalg.vector_norm(theirs.double())
            assert error <= rtol * norm, f"{name}: result {i} is off by {error / norm:.2e}"


def _calls(run: Run, finish: Run, min_seconds: float) -> int:
    for _ in range(3):
        run()
    finish()
    once = min(_time(run, 1, finish) for _ in range(3))
    return max(1, int(min_seconds / once))


def _time(run: Run, calls: int, finish: Run) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    finish()
    return (time.perf_counter() - start) / calls
