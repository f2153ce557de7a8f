"""The cost of diagnostics: in each step, and at each log point.

Windows of 100 steps, with and without diagnostics, would resolve only a few percent, as the machine's speed
drifts within a window. So the two costs are timed separately, the first one in short rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, QUICK, Effort, Run, Sample, contest, timed
from benchmarks.replay import replayed
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem
from fastgan.data import Dataset, load
from fastgan.training.alarms import Watch
from fastgan.training.capture import EagerSteps
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.objectives import losses
from fastgan.training.recipes import RECIPES
from fastgan.training.run_config import RunConfig
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.window import Window

pytestmark = pytest.mark.benchmark(timer=replayed)
EFFORT = QUICK if IS_QUICK else Effort(2_000, 100, 90.0)  # to resolve 0.1%
INTERVAL = 100
Case = tuple[TrainingState, Tensor, Dataset | None]


def ring() -> Case:
    """The recipe with the shortest step."""
    data = load("ring")
    config = RunConfig.of("ring", data, RECIPES["ring"])
    training = replace(config.training, log_interval=INTERVAL)
    return TrainingState(config.build_generator(), config.build_discriminator(), training), data.samples, data


def wide() -> Case:
    """Batches of 128, hidden layers of 256."""
    problem = Problem(128, 256, simultaneous=False)
    return Fastgan(problem).state, problem.data("cpu"), None


@pytest.mark.parametrize("case", [ring, wide])
def test_steps(record: Record, case: Callable[[], Case]) -> None:
    state, samples, _ = case()
    turn = _steps(state, samples, state.config.penalty_interval)  # the same number of R1 steps in each round
    with _switch() as switch:

        def bare() -> None:
            switch(False)
            turn()
            switch(True)

        found = contest({"fastgan": timed(turn), "without diagnostics": timed(bare)}, EFFORT)
    record("diagnostics in the step", case.__name__, found)


@pytest.mark.parametrize("case", [ring, wide])
def test_row(record: Record, case: Callable[[], Case]) -> None:
    state, samples, data = case()
    diagnostics, watch = Diagnostics(state, Resident(samples), data), Watch()

    def row() -> None:
        watch.update(state.step, diagnostics.measure())

    steps = _steps(state, samples, INTERVAL)
    found = contest({"fastgan": _after(steps, row), "100 steps": timed(steps)}, EFFORT)
    record("row of diagnostics", case.__name__, found)


def _steps(state: TrainingState, samples: Tensor, count: int) -> Run:
    window = Window(state)
    steps = EagerSteps(state, Resident(samples), window)

    def run() -> None:
        for _ in range(count):
            if state.step % INTERVAL == 0:
                window.open()
            steps.advance(1)

    return run


def _after(steps: Run, row: Run) -> Sample:
    """Times only the row, with the caches as the steps leave them."""

    def sample(calls: int) -> float:
        seconds = 0.0
        for _ in range(calls):
            steps()
            start = time.perf_counter()
            row()
            seconds += time.perf_counter() - start
        return seconds

    return sample


@contextmanager
def _switch() -> Iterator[Callable[[bool], None]]:
    """Yields a switch for the diagnostics in a step. Its overhead is the same in both positions."""
    zero, is_on = torch.zeros(()), True
    norm, share = torch.linalg.vector_norm, losses.gradient_share

    def switch(on: bool) -> None:
        nonlocal is_on
        is_on = on

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(torch.linalg, "vector_norm", lambda *args: norm(*args) if is_on else zero)
        monkeypatch.setattr(losses, "gradient_share", lambda grad: share(grad) if is_on else zero)
        yield switch
