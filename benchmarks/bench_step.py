"""The training step, compared with eager PyTorch, torch.compile and, if installed, JAX."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, Result, contest, timed
from benchmarks.machine import DEVICE
from benchmarks.replay import replayed
from benchmarks.step.agreement import check_agreement
from benchmarks.step.contenders import contenders
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.problem import Problem
from fastgan.training import Callback, Trainer
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

pytestmark = pytest.mark.benchmark(timer=replayed)
SIZES = ((128, 256),) if IS_QUICK else ((128, 256), (1024, 1024))
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
    result = contest({name: timed(each.run, each.finish) for name, each in made.items()})
    steps = {name: [s / made[name].steps_a_run for s in each] for name, each in result.seconds.items()}
    record("step", str(problem), Result(steps), dtype="fp32", size=problem.flops(), flops=problem.flops())


def test_loop_overhead(record: Record) -> None:
    """The trainer's loop with a log row every 100 steps, compared with its bare steps."""
    problem = Problem(128, 256, simultaneous=False)
    bare = Fastgan(problem)

    def steps() -> None:
        for _ in range(100):
            bare.run()

    config = replace(bare.state.config, steps=2**31 - 1)
    trainer = Trainer(*_players(Fastgan(problem)), config)
    trainer.callbacks = [StopsAtEachRow(trainer)]
    source = Resident(problem.data("cpu"))

    def loop() -> None:
        trainer._stopping = False
        trainer._run(source, Diagnostics(trainer.state, source))

    result = contest({"fastgan": timed(loop), "its bare steps": timed(steps)})
    record("loop of 100 steps", str(problem), result)


class StopsAtEachRow(Callback):
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        if state.step % state.config.log_interval == 0:
            self.trainer.stop()


def _players(contender: Fastgan) -> tuple[torch.nn.Module, torch.nn.Module]:
    return contender.state.generator, contender.state.discriminator
