"""What diagnostics add to the trainer's loop: a hundred steps and a row of the log, with them and without."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from benchmarks.bench_step import StopsAtEachRow
from benchmarks.conftest import Record
from benchmarks.contest import EFFORT, Run, contest, timed
from benchmarks.replay import replayed
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem
from fastgan.data import Dataset, load
from fastgan.training import Trainer, step
from fastgan.training.alarms import Watch
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.objectives import logits
from fastgan.training.recipes import RECIPES
from fastgan.training.run import RunConfig
from fastgan.training.source import Resident

pytestmark = pytest.mark.benchmark(timer=replayed)
_UNDISTURBED = dict.fromkeys(("steps", "sample_interval", "checkpoint_interval"), 2**31 - 1)


def ring() -> Run:
    """The recipe with the shortest step."""
    data = load("ring")
    config = RunConfig.of("ring", data, RECIPES["ring"])
    training = replace(config.training, **_UNDISTURBED)
    return _loop(
        Trainer(config.build_generator(), config.build_discriminator(), training), data.samples, data
    )


def wide() -> Run:
    """Batches of 128, hidden layers of 256."""
    problem = Problem(128, 256, simultaneous=False)
    state = Fastgan(problem).state
    training = replace(state.config, **_UNDISTURBED)
    return _loop(Trainer(state.generator, state.discriminator, training), problem.data("cpu"))


@pytest.mark.parametrize("case", [ring, wide])
def test_diagnostics(record: Record, case: Callable[[], Run]) -> None:
    loops = {"fastgan": timed(case()), "without diagnostics": timed(_without(case()))}
    result = contest(loops, replace(EFFORT, seconds=10 * EFFORT.seconds))
    record("loop of 100 steps, with diagnostics", case.__name__, result)


def _loop(trainer: Trainer, samples: Tensor, data: Dataset | None = None) -> Run:
    trainer.callbacks = [StopsAtEachRow(trainer)]
    source = Resident(samples)
    diagnostics = Diagnostics(trainer.state, source, data)

    def loop() -> None:
        trainer._stopping = False
        trainer._run(source, diagnostics)

    return loop


def _without(loop: Run) -> Run:
    zero = torch.zeros(())

    def bare() -> None:
        with ExitStack() as stack:
            for owner, name, idle in (
                (Tensor, "retain_grad", lambda self: None),
                (step, "_gradient", lambda fake: zero),
                (logits, "_share", lambda grad: zero),
                (Diagnostics, "measure", lambda self: {}),
                (Watch, "update", lambda self, step, values: ()),
            ):
                stack.enter_context(patch.object(owner, name, idle))
            loop()

    return bare
