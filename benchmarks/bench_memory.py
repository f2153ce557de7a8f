"""Memory of forward + backward, for each contender."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.contest import IS_QUICK
from benchmarks.memory import CASES, measure_alone, why_not
from benchmarks.operations.operation import Case
from benchmarks.replay import replay, replayed

pytestmark = [
    pytest.mark.benchmark(timer=replayed),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.mark.parametrize("case", CASES[:1] if IS_QUICK else CASES, ids=str)
def test_memory(benchmark: Any, capsys: pytest.CaptureFixture[str], case: Case) -> None:
    found = measure_alone(case)
    label = f"{case.operation.name}, {case.label}"
    benchmark.group = "memory"
    benchmark.extra_info.update(
        suite="memory", case=label, dtype=case.dtype, memory=found["memory"], inputs=found["inputs"]
    )
    replay(benchmark, found["seconds"])
    sizes = "; ".join(f"{name} {_in_mib(each)}" for name, each in found["memory"].items())
    with capsys.disabled():
        print(f"\nmemory, {label}: {sizes}", end="")


def _in_mib(memory: dict[str, int]) -> str:
    return ", ".join(f"{kind} {size / 2**20:.1f} MiB" for kind, size in memory.items())
