"""Records every benchmark: prints a line, and stores quartiles in pytest-benchmark's JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Protocol

import pytest
import torch

import fastgan
from benchmarks.contest import Result
from benchmarks.machine import DEVICE, device_name, rates
from benchmarks.operations.contenders import jax_runs_on
from benchmarks.replay import replay


class Record(Protocol):
    def __call__(self, suite: str, case: str, result: Result, **what: Any) -> None:
        """Records a contest. ``what`` holds further fields for benchmarks/report."""


@pytest.fixture
def record(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> Record:
    rates(DEVICE)  # cached: measured before the first benchmark, with the machine in the same state

    def keep(suite: str, case: str, result: Result, **what: Any) -> None:
        seconds = {name: _quartiles(each) for name, each in result.seconds.items()}
        ratios = {name: _quartiles(result.ratios(name)) for name in seconds if name != "fastgan"}
        benchmark.group = suite
        benchmark.extra_info.update(suite=suite, case=case, seconds=seconds, ratios=ratios, **what)
        replay(benchmark, result.seconds["fastgan"])
        named = ", ".join([suite, case, *(what[key] for key in ("dtype", "direction") if key in what)])
        cells = [f"{name} {_ratio(result, name)}" for name in result.seconds if name != "fastgan"]
        with capsys.disabled():
            print(f"\n{named}: {result.median('fastgan') * 1e6:.1f} us; {'; '.join(cells)}", end="")

    return keep


def _ratio(result: Result, name: str) -> str:
    low, middle, high = result.ratio(name)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _quartiles(values: Sequence[float]) -> dict[str, float]:
    """Quartiles under the names that pytest-benchmark uses."""
    q1, median, q3 = statistics.quantiles(values, n=4)
    found = {"min": min(values), "q1": q1, "median": median, "q3": q3, "max": max(values), "iqr": q3 - q1}
    return {name: float(f"{value:.9g}") for name, value in found.items()}


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Drops the rounds, as quartiles are stored, and the parameters, as the test's name contains them."""
    for each in output_json["benchmarks"]:
        each["stats"].pop("data", None)
        each["params"] = None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    del machine_info["node"]  # a host's name says nothing about its speed
    machine_info["cpu"].pop("flags", None)  # about a hundred; "instruction set" is enough
    measured = rates(DEVICE)
    machine_info["device"] = device_name(DEVICE)
    machine_info["torch"] = torch.__version__
    machine_info["jax"] = _jax_version()
    machine_info["threads"] = torch.get_num_threads()
    machine_info["fastgan"] = {
        "version": fastgan.__version__,
        "backends": fastgan.available_backends(DEVICE),
        "instruction set": fastgan.kernels.cpu.instruction_set(),
    }
    machine_info["rates"] = {"copy seconds": measured.copy_seconds, "flops": measured.flops}


def _jax_version() -> str | None:
    if not jax_runs_on(DEVICE):
        return None
    import jax

    return str(jax.__version__)
