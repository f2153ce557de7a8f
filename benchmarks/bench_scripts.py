"""Scripts in plain PyTorch, examples/NAME_plain.py, and the same with fastgan, NAME_fastgan.py.

Each script times its own loop. tests/test_parity.py checks that both compute the same.
"""

from __future__ import annotations

import contextlib
import gc
import io
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, QUICK, Effort, Result, Sample, contest
from benchmarks.replay import replayed

pytestmark = pytest.mark.benchmark(timer=replayed)
EXAMPLES = Path(__file__).parents[1] / "examples"
EFFORT = QUICK if IS_QUICK else Effort(60, 10, 25.0)
# The option for the number of steps, and the steps per sample, at the default sizes of the scripts.
STEPS = {
    "mlp": ("--n_steps", 40),
    "dcgan": ("--niter", 5),
    "hinge": ("--steps", 3),
    "hifigan": ("--steps", 1),
    "bigvgan": ("--steps", 1),
}


@pytest.mark.parametrize("name", STEPS)
def test_script(record: Record, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    argument, steps = STEPS[name]

    def sample_of(kind: str) -> Sample:
        path = str(EXAMPLES / f"{name}_{kind}.py")

        def sample(calls: int) -> float:
            for _ in range(3):  # the networks of the script before, which are in cycles of classes
                gc.collect()
            monkeypatch.setattr(sys, "argv", [path, argument, str(calls * steps)])
            with contextlib.redirect_stdout(io.StringIO()):
                return float(runpy.run_path(path, run_name="__main__")["seconds"])

        return sample

    found = contest({"fastgan": sample_of("fastgan"), "eager": sample_of("plain")}, EFFORT)
    of_one = {kind: [seconds / steps for seconds in each] for kind, each in found.seconds.items()}
    record("script", f"{name}, as in examples/{name}_plain.py", Result(of_one), dtype="fp32")
