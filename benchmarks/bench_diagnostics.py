"""What diagnostics add to a step: their part in each, and a hundredth of what they measure at a log point.

Both are far shorter than a machine keeps its speed for, so a round is a step with them, a step without, and
one measurement; the ratio is that of each round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, QUICK, Effort, Result, Run, contest, timed
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
EFFORT = QUICK if IS_QUICK else Effort(2_000, 200, 60.0)  # it looks for hundredths
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

    def measure() -> None:
        watch.update(state.step, diagnostics.measure())

    steps = _steps(state, samples)  # the same for both: where memory lies makes a percent of difference
    samplers = {"step": timed(steps), "without diagnostics": timed(_bare(steps)), "row": timed(measure)}
    found = contest(samplers, EFFORT, min_seconds=0).seconds
    whole = [own + row / INTERVAL for own, row in zip(found["step"], found["row"], strict=True)]
    bare = {"without diagnostics": found["without diagnostics"]}
    record("step with diagnostics", case.__name__, Result({"fastgan": whole, **bare}))


def _steps(state: TrainingState, samples: Tensor) -> Run:
    window = Window(state)
    steps = EagerSteps(state, Resident(samples), window)

    def run() -> None:
        steps.advance(1)
        if state.step % INTERVAL == 0:
            window.close()
            window.open()

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
