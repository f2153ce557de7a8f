"""Passes the rounds of a contest to pytest-benchmark, for its statistics and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_clock: Iterator[float] = iter(())


def replayed() -> float:
    """The timer of every benchmark here. Returns the stored rounds one after the other."""
    return next(_clock)


def replay(benchmark: Any, seconds: list[float]) -> None:
    global _clock
    _clock = (reading for each in seconds for reading in (0.0, each))
    benchmark.pedantic(lambda: None, rounds=len(seconds))
