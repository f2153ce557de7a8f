"""The training step, compared with eager PyTorch, torch.compile and, if installed, JAX at its best."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.conftest import Record
from benchmarks.contest import EFFORT, IS_QUICK, MIN_SAMPLE_SECONDS, Result, contest, timed
from benchmarks.load import spinning
from benchmarks.machine import DEVICE
from benchmarks.replay import replayed
from benchmarks.step.agreement import check_agreement
from benchmarks.step.contenders import at_jax_best, contenders
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Contender, Problem
from fastgan.training import Callback, Trainer
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

_BUSY_SECONDS = 0.5  # of a sample: many turns of the scheduler
pytestmark = pytest.mark.benchmark(timer=replayed)
SIZES = ((64, 128), (128, 256), *(() if IS_QUICK else ((1024, 1024),)))
PROBLEMS = [
    Problem(*size, simultaneous, r1_gamma)
    for size in SIZES
    for simultaneous, r1_gamma in ((False, 0.0), (True, 0.0), (False, 10.0))
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_step(record: Record, problem: Problem) -> None:
    torch.compiler.reset()
    made = {name: make() for name, make in contenders(problem, DEVICE)}
    check_agreement(problem, made, DEVICE)
    result, jax = _contest(made)
    flops = problem.flops()
    record("step", str(problem), result, dtype="fp32", size=flops, flops=flops, jax=jax)


def test_step_on_busy_cores(record: Record) -> None:
    """As on a machine where each core has another process: a thread that waits for others waits long."""
    problem = Problem(128, 256, simultaneous=False)
    others = dict(contenders(problem, DEVICE))
    made = {name: make() for name, make in others.items() if not name.startswith("torch.compile")}
    with spinning(torch.get_num_threads()):
        result, jax = _contest(made, _BUSY_SECONDS)
    record("step on busy cores", str(problem), result, dtype="fp32", jax=jax)


def test_loop_overhead(record: Record) -> None:
    """The trainer's loop with a log row every 100 steps, compared with its bare steps."""
    problem = Problem(128, 256, simultaneous=False)
    bare = Fastgan(problem, steps=100)
    config = replace(bare.state.config, steps=2**31 - 1)
    trainer = Trainer(*_players(Fastgan(problem)), config)
    trainer.callbacks = [StopsAtEachRow(trainer)]
    source = Resident(problem.data("cpu"))

    def loop() -> None:
        trainer._stopping = False
        trainer._run(source, Diagnostics(trainer.state, source))

    result = contest({"fastgan": timed(loop), "its bare steps": timed(bare.run)})
    record("loop of 100 steps", str(problem), result)


class StopsAtEachRow(Callback):
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        if state.step % state.config.log_interval == 0:
            self.trainer.stop()


def _contest(
    made: dict[str, Contender], min_seconds: float = MIN_SAMPLE_SECONDS
) -> tuple[Result, str | None]:
    """Seconds per step, and JAX's faster way."""
    result = contest({name: timed(each.run, each.finish) for name, each in made.items()}, EFFORT, min_seconds)
    steps = {name: [s / made[name].steps_a_run for s in each] for name, each in result.seconds.items()}
    seconds, jax = at_jax_best(steps)
    return Result(seconds), jax


def _players(contender: Fastgan) -> tuple[torch.nn.Module, torch.nn.Module]:
    return contender.state.generator, contender.state.discriminator
