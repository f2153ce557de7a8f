"""The kernels of a training step: a small network's step takes as long as their number makes it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from launches import counted_launches

import fastgan
from benchmarks.report.goals import MOST_KERNELS
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem


def of_a_step(monkeypatch: pytest.MonkeyPatch, contender: Fastgan) -> Counter[str]:
    for _ in range(2):  # the first takes note of what is drawn
        contender.run()
    with counted_launches(monkeypatch) as found:
        contender.run()
    return found


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="on a GPU the profiler counts them: benchmarks/gpu/steps.py"
)
@pytest.mark.parametrize(("name", "most"), [("cuda", MOST_KERNELS), ("triton", 32)])
def test_kernels_of_an_alternating_step(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    with fastgan.use_backend(name):
        found = of_a_step(monkeypatch, Fastgan(Problem(8, 16, simultaneous=False)))
    assert sum(found.values()) <= most, found
    assert "cat" not in found
