"""``python -m benchmarks.tabular NAME ROWS COLUMNS EPOCHS``: times one contender, and prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.tabular import contender
from benchmarks.tabular.table import make_table

_SAMPLED = 3  # times; the first is not counted


def measure(name: str, rows: int, columns: int, epochs: int) -> dict[str, float]:
    """Seconds of a step, of all before the first step, of the whole fit and of sampling ``rows`` rows.

    ``peak`` is the largest resident memory of this process in bytes, without that of worker processes.
    """
    frame, discrete = make_table(rows, columns)
    made = contender(name, epochs, seed=0)
    begun = time.perf_counter()
    stamps = made.fit(frame, discrete)
    whole = time.perf_counter() - begun
    step = statistics.median(
        (ended - started) / (last - first) for (first, started), (last, ended) in pairwise(stamps)
    )
    first, ended = stamps[0]
    sampled = []
    for _ in range(_SAMPLED):
        start = time.perf_counter()
        made.sample(rows)
        sampled.append(time.perf_counter() - start)
    return {
        "step": step,
        "transform": ended - begun - first * step,
        "fit": whole,
        "sample": statistics.median(sampled[1:]),
        "steps": stamps[-1][0],
        "threads": torch.get_num_threads(),
        "peak": _peak(),
    }


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    print(json.dumps(measure(name, *map(int, numbers))))
