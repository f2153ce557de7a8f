"""``python -m benchmarks.tabular NAME ROWS COLUMNS EPOCHS``: times one contender, and prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
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
    ended = made.fit(frame, discrete)
    whole = time.perf_counter() - begun
    steps = [after - before for before, after in zip(ended, ended[1:], strict=False)]
    sampled = []
    for _ in range(_SAMPLED):
        start = time.perf_counter()
        made.sample(rows)
        sampled.append(time.perf_counter() - start)
    step = statistics.median(steps)
    return {
        "step": step,
        "transform": ended[0] - begun - step,
        "fit": whole,
        "sample": statistics.median(sampled[1:]),
        "steps": len(ended),
        "threads": torch.get_num_threads(),
        "peak": _peak(),
    }


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    print(json.dumps(measure(name, *map(int, numbers))))
