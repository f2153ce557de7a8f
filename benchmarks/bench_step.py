"""The training step against PyTorch as people write it, torch.compile and, where it is installed, JAX."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.conftest import ROUNDS, report
from benchmarks.contest import contest
from benchmarks.step.agreement import check_agreement
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager
from benchmarks.step.problem import Contender, Problem
from fastgan.training import Callback, Trainer
from fastgan.training.diagnostics import Diagnostics
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

SIZES = {(128, 256): ROUNDS, (1024, 1024): max(4, ROUNDS // 5)}


def contenders(problem: Problem) -> dict[str, Contender]:
    made: dict[str, Contender] = {
        "fastgan": Fastgan(problem),
        "eager": Eager(problem),
        "torch.compile": Eager(problem, compiled="default"),
    }
    if importlib.util.find_spec("jax"):
        from benchmarks.step.in_jax import Jax

        made["JAX jit"] = Jax(problem)
    return made


@pytest.mark.parametrize("simultaneous", [False, True], ids=["alternating", "simultaneous"])
@pytest.mark.parametrize(("batch", "width"), SIZES)
def test_step(
    benchmark: Any, request: pytest.FixtureRequest, batch: int, width: int, simultaneous: bool
) -> None:
    torch.compiler.reset()
    problem = Problem(batch, width, simultaneous)
    made = contenders(problem)
    check_agreement(problem, made)

    def finish() -> None:
        for contender in made.values():
            contender.finish()

    # long samples: a library's threads spin for a while after its last call, at the next one's expense
    runs = {name: contender.run for name, contender in made.items()}
    result = contest(runs, SIZES[batch, width], finish, min_seconds=0.1)
    report(benchmark, request.node.name, result)
    benchmark.pedantic(runs["fastgan"], rounds=3, iterations=1)


def test_loop_overhead(benchmark: Any) -> None:
    """The trainer's loop, with a log row every hundredth step, against its bare steps."""
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

    result = contest({"bare": steps, "loop": loop}, ROUNDS)
    low, middle, high = result.ratio("loop", "bare")
    benchmark.extra_info["loop / bare"] = middle
    print(f"\nloop: {middle:.3f} times as long as its bare steps ({low:.3f}-{high:.3f})")
    benchmark.pedantic(loop, rounds=1, iterations=1)


class StopsAtEachRow(Callback):
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        if state.step % state.config.log_interval == 0:
            self.trainer.stop()


def _players(contender: Fastgan) -> tuple[torch.nn.Module, torch.nn.Module]:
    return contender.state.generator, contender.state.discriminator
