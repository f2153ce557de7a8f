"""What ``make gpu-check`` would run on a machine with a GPU, and what it says of a step that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backends import Backend
from conftest import Python

from benchmarks.gpu_check import OPERATIONS, ROOT, TRAINING, Step, run, steps


def needs_a_gpu(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    backends = [p for p in parameters.params.values() if isinstance(p, Backend)] if parameters else []
    return item.get_closest_marker("gpu") is not None or any(b.name in ("cuda", "triton") for b in backends)


def test_every_file_with_tests_for_a_gpu_is_run(request: pytest.FixtureRequest) -> None:
    """Of the files that are being tested now: all of them, in a run of all tests."""
    found = {item.path.stem for item in request.session.items if needs_a_gpu(item)}
    listed = {f"test_{name}" for name in [*OPERATIONS, *TRAINING]}
    assert found <= listed
    assert all((ROOT / f"tests/{name}.py").is_file() for name in listed)


def test_steps_without_what_training_needs(tmp_path: Path, python: Python) -> None:
    names = [step.name for step in steps(tmp_path, "9.0")]
    assert {"build", "tests, CUDA", "driver", "floors", "tests of training", "step benchmarks"} <= set(names)
    result = python(
        "import sys; sys.modules['safetensors'] = None; from pathlib import Path\n"
        "from benchmarks.gpu_check import steps; print(*[s.name for s in steps(Path(), '9.0')], sep='\\n')"
    )
    assert "no safetensors" in result.stdout, result.stderr
    left = [name for name in names if name not in ("tests of training", "step benchmarks")]
    assert [line for line in result.stdout.splitlines() if not line.startswith("no ")] == left


def test_floors(tmp_path: Path) -> None:
    """Each contender of each case, at sizes that say nothing."""
    command = [sys.executable, "-m", "benchmarks.gpu_floors", "--quick", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "FASTGAN_BENCH": "quick"})
    rows = json.loads((tmp_path / "gpu-floors.json").read_text())["rows"]
    assert [row["floor"] for row in rows] == ["eager", "nothing", "eager", "nothing", "products"]
    for row in rows:
        assert row["medians"].keys() == {row["floor"], *row["ratios"]}
        assert min(row["ratios"].values()) > 0
        assert row["case"] in (tmp_path / "gpu-floors.md").read_text()


@pytest.mark.parametrize(
    ("code", "limit", "told"),
    [
        ("print('well')", 60, "ok"),
        ("print('badly'); raise SystemExit(3)", 60, "failed (3), see "),
        (
            "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('slow')",
            2,
            "took longer than 2 s, see ",
        ),
    ],
)
def test_a_step_that_fails_is_told(tmp_path: Path, code: str, limit: int, told: str) -> None:
    step = Step("a, step", [sys.executable, "-c", code], limit)
    result, _ = run(step, tmp_path, dict(os.environ), limit)
    assert result.startswith(told)
    assert (tmp_path / "a-step.log").read_text().strip() in ("well", "badly", "slow")


def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    result, _ = run(Step("none", [str(tmp_path / "none")], 60), tmp_path, dict(os.environ), 60)
    assert result.startswith("could not start: ")
