"""What diagnostics add to training: their part in each step, and what they measure at a log point.

A sample is all the steps from one log point to the next: R1, in every fourth step, and the cold caches that a
measurement finds are in it as they are in training, and switching diagnostics off costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, QUICK, Effort, Run, contest, timed
from benchmarks.replay import replayed
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem
from fastgan.data import Dataset, load
from fastgan.training import step
from fastgan.training.alarms import Watch
from fastgan.training.capture import EagerSteps
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.objectives import gan
from fastgan.training.recipes import RECIPES
from fastgan.training.run import RunConfig
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.window import Window

pytestmark = pytest.mark.benchmark(timer=replayed)
EFFORT = QUICK if IS_QUICK else Effort(250, 25, 120.0)  # it looks for hundredths
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
def test_diagnostics(record: Record, case: Callable[[], Case]) -> None:
    state, samples, data = case()
    diagnostics, watch = Diagnostics(state, Resident(samples), data), Watch()

    steps = _steps(state, samples)  # the same for both: where memory lies makes a percent of difference
    bare = _bare(steps)

    def watched() -> None:
        steps()
        watch.update(state.step, diagnostics.measure())

    found = contest({"fastgan": timed(watched), "without diagnostics": timed(bare)}, EFFORT)
    record("100 steps with diagnostics", case.__name__, found)


def _steps(state: TrainingState, samples: Tensor) -> Run:
    window = Window(state)
    steps = EagerSteps(state, Resident(samples), window)

    def run() -> None:
        window.open()
        for _ in range(INTERVAL):
            steps.advance(1)
        window.close()

    return run


def _bare(run: Run) -> Run:
    """The same without what diagnostics do in a step."""
    zero = torch.zeros(())
    parts: list[tuple[Any, str, Any]] = [
        (Tensor, "retain_grad", lambda fake: None),
        (step, "_gradient", lambda fake: zero),
        (gan, "gradient_share", lambda grad: zero),
    ]
    kept = [getattr(owner, name) for owner, name, _ in parts]

    def bare() -> None:
        for owner, name, nothing in parts:
            setattr(owner, name, nothing)
        run()
        for (owner, name, _), part in zip(parts, kept, strict=True):
            setattr(owner, name, part)

    return bare
