"""A GAN of a table, compared with ctgan: the transform, a step, the whole fit, samples, and peak memory.

FASTGAN_CTGAN is the Python of an environment with ctgan, such as ``ctgan/bin/python`` after::

    python3 -m venv ctgan && ctgan/bin/pip install ctgan==0.12.1 torch==2.13.0

Each round starts a process for each contender, one after the other in rotating order.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, Result
from benchmarks.replay import replay, replayed

CTGAN = os.environ.get("FASTGAN_CTGAN")
pytestmark = [
    pytest.mark.benchmark(timer=replayed),
    pytest.mark.skipif(CTGAN is None, reason=f"FASTGAN_CTGAN is not set: see {Path(__file__).name}"),
]
PYTHONS = {"fastgan": sys.executable, "ctgan": str(CTGAN)}
# rows, columns, and epochs: CTGAN's default of 300 for the small table, 400 steps of the large one
TABLES = [(500, 4, 250)] if IS_QUICK else [(5_000, 10, 300), (100_000, 30, 2)]
ROUNDS = 2 if IS_QUICK else 3
Table = tuple[int, int, int]


@pytest.mark.parametrize("part", ["transform", "step", "fit", "sample"])
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_time(record: Record, table: Table, part: str) -> None:
    rounds = measured(table)
    seconds = {name: [found[part] for found in each] for name, each in rounds.items()}
    record("tabular", f"{part}, {label(table)}", Result(seconds), dtype="fp32")


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_memory(benchmark: Any, capsys: pytest.CaptureFixture[str], table: Table) -> None:
    """The largest resident memory of the process that fits and samples, without ctgan's worker processes."""
    rounds = measured(table)
    memory = {name: {"peak": statistics.median(r["peak"] for r in each)} for name, each in rounds.items()}
    benchmark.group = "memory"
    benchmark.extra_info.update(suite="memory", case=label(table), dtype="fp32", memory=memory)
    replay(benchmark, [0.0])
    with capsys.disabled():
        print(f"\nmemory, {label(table)}: {memory}", end="")


def label(table: Table) -> str:
    rows, columns, epochs = table
    return f"{rows:,} × {columns}, {epochs * max(rows // 500, 1):,} steps"


@cache
def measured(table: Table) -> dict[str, list[dict[str, float]]]:
    """What ``benchmarks.tabular`` finds for each contender, in each round."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PYTHONS}
    names = list(found)
    for turn in range(ROUNDS):
        for name in names[turn % 2 :] + names[: turn % 2]:
            found[name].append(_alone(name, table))
    return found


def _alone(name: str, table: Table) -> dict[str, float]:
    command = [PYTHONS[name], "-m", "benchmarks.tabular", name, *map(str, table)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)} failed:\n{ended.stderr}"
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found
