"""Runs each case's contenders against each other and prints their ratios at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from benchmarks.contest import Result, Run, check_agreement, contest

ROUNDS = int(os.environ.get("FASTGAN_BENCH_ROUNDS", "40"))
_rows: list[tuple[str, ...]] = []

Forward = Callable[..., Tensor]


@pytest.fixture
def compete(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """compete(forwards, inputs): forward + backward of each function over the same leaf tensors."""

    def run(forwards: dict[str, Forward], inputs: Sequence[Tensor], grad: Tensor | None = None) -> None:
        torch.compiler.reset()
        runs = {name: _forward_backward(forward, inputs, grad) for name, forward in forwards.items()}
        check_agreement({name: _results(forward, inputs, grad) for name, forward in forwards.items()})
        del runs["reference"]
        report(benchmark, request.node.name, contest(runs, ROUNDS))
        benchmark.pedantic(runs["fastgan"], rounds=5, iterations=1, warmup_rounds=1)

    return run


def report(benchmark: Any, case: str, result: Result) -> None:
    """Keep a contest's times, and print its ratios at the end."""
    benchmark.extra_info["seconds"] = result.seconds
    row = [case, f"{result.median('fastgan') * 1e6:.1f}"]
    for name in result.seconds:
        if name != "fastgan":
            low, middle, high = result.ratio(name)
            benchmark.extra_info[f"{name} / fastgan"] = middle
            row.append(f"{name} {middle:.2f} ({low:.2f}-{high:.2f})")
    _rows.append(tuple(row))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    del machine_info["node"]  # a host's name says nothing about its speed
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = torch.get_num_threads()
    machine_info["fastgan"] = {
        "version": fastgan.__version__,
        "backends": fastgan.available_backends(),
        "instruction set": fastgan.kernels.extension.instruction_set(),
    }


def _forward_backward(forward: Forward, inputs: Sequence[Tensor], grad: Tensor | None) -> Run:
    def run() -> None:
        forward(*inputs).backward(grad)
        for t in inputs:
            t.grad = None

    return run


def _results(forward: Forward, inputs: Sequence[Tensor], grad: Tensor | None) -> list[Tensor]:
    output = forward(*inputs)
    return [output.detach(), *torch.autograd.grad(output, inputs, grad)]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _rows:
        return
    terminalreporter.section("how many times longer than fastgan: median (quartiles) of interleaved rounds")
    for row in [("forward + backward, or one step", "fastgan us"), *_rows]:
        terminalreporter.write_line(f"{row[0]:44}{row[1]:>12}" + "".join(f"{cell:>36}" for cell in row[2:]))
