"""Training by the recipes of ring and grid, compared with an earlier build.

FASTGAN_EARLIER is the folder of that build: another checkout, with its modules compiled in place. Each build
trains by its own recipes, in processes of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from benchmarks.contest import IS_QUICK, Effort, Result, Sample, contest
from benchmarks.machine import commit_of
from benchmarks.replay import replayed

pytestmark = pytest.mark.benchmark(timer=replayed)
ROOT = Path(__file__).parents[1]
STEPS = 500 if IS_QUICK else 3_000  # a call
EFFORT = Effort(3, 3, 0.0) if IS_QUICK else Effort(15, 7, 120.0)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_recipe(record: Record, name: str) -> None:
    if not (given := os.environ.get("FASTGAN_EARLIER")):
        pytest.skip("FASTGAN_EARLIER is not set to the folder of an earlier build")
    earlier = Path(given).resolve()
    builds = {"fastgan": ROOT, "earlier build": earlier}
    found = contest({build: sample_of(folder, name) for build, folder in builds.items()}, EFFORT)
    steps = {build: [seconds / STEPS for seconds in each] for build, each in found.seconds.items()}
    record("recipe", f"{name}, against {commit_of(earlier)[:7]}", Result(steps), dtype="fp32")


def sample_of(folder: Path, name: str) -> Sample:
    """Trains in a new process with the fastgan of a folder; counts only the steps, not the start."""

    def sample(calls: int) -> float:
        steps = calls * STEPS
        command = [sys.executable, str(ROOT / "benchmarks/train_recipe.py"), name, str(steps)]
        environment = os.environ | {"PYTHONPATH": str(folder)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{folder}: training by its recipe failed: {ended.stderr}"
        told = json.loads(ended.stdout.splitlines()[-1])
        assert Path(told["fastgan"]).is_relative_to(folder), f"{told['fastgan']} is not of {folder}"
        return float(told["seconds"]) * steps

    return sample
