"""Losses, head and layers: forward, backward and both, and the overhead of a call at tiny sizes."""

from __future__ import annotations

from functools import lru_cache

import pytest

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, contest
from benchmarks.machine import DEVICE
from benchmarks.operations.contenders import Contender, contenders, samples_of
from benchmarks.operations.operation import Case, Direction, Work
from benchmarks.operations.table import CPU, GPU, QUICK, cases, tiny
from benchmarks.replay import replayed

pytestmark = pytest.mark.benchmark(timer=replayed)
SIZES = QUICK if IS_QUICK else GPU if DEVICE == "cuda" else CPU
TRAINING = (Direction.FORWARD, Direction.BACKWARD, Direction.BOTH)


@lru_cache(maxsize=1)  # enough, as the directions of a case run one after the other
def _made(case: Case) -> dict[str, Contender]:
    return contenders(case, DEVICE)


def _measure(record: Record, suite: str, case: Case, direction: Direction) -> None:
    result = contest(samples_of(_made(case), direction))
    work = case.work(direction) if suite == case.operation.name else Work(0)
    record(
        suite,
        case.label if suite == case.operation.name else f"{case.operation.name}, {case.label}",
        result,
        dtype=case.dtype,
        direction=direction.value,
        size=case.size,
        axis=case.operation.axis,
        bytes=work.bytes,
        flops=work.flops,
    )


@pytest.mark.parametrize("direction", TRAINING, ids=lambda direction: direction.name.lower())
@pytest.mark.parametrize("case", list(cases(SIZES)), ids=str)
def test_operation(record: Record, case: Case, direction: Direction) -> None:
    _measure(record, case.operation.name, case, direction)


@pytest.mark.parametrize("case", tiny(), ids=str)
def test_call(record: Record, case: Case) -> None:
    _measure(record, "call", case, Direction.CALL)
