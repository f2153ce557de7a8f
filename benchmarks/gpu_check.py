"""``make gpu-check``: everything that needs a GPU, in one command that downloads nothing.

Builds for this GPU alone, runs the tests marked ``gpu`` (several at once where there is pytest-xdist), the
driver program of every CUDA kernel by itself and under compute-sanitizer (where there is one), and the
benchmarks. What each step printed, and the benchmarks' table and picture, go into a folder; a short table
ends the run. A failed step does not stop the others. In eight minutes all are done, or interrupted: the last
one has the time that the others leave.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]

# the files under tests/ that have tests marked gpu; they alone are imported
OPERATIONS = [
    *("autocast", "bad_input", "capture", "cuda_kept_grads", "extremes", "gradients", "head", "large"),
    *("layers", "losses", "reconstruction", "registered", "repeatability", "transforms"),
]
BUDGET = 470  # seconds, of all steps
GRACE = 10  # more, for one that is interrupted
TRAINING = ["captured_steps", "r1", "resume", "simultaneous"]  # they need these packages of fastgan[train]
PACKAGES = ("matplotlib", "PIL", "rich", "safetensors", "sklearn", "tensorboard", "typer", "yaml")


@dataclass(frozen=True)
class Step:
    name: str
    command: list[str]
    limit: int  # seconds


def tests(name: str, files: list[str], limit: int, chosen: str) -> Step:
    at_once = ["-n", str(min(os.cpu_count() or 1, 14))] if importlib.util.find_spec("xdist") else []
    options = ["-m", "gpu", "-k", chosen, "-q", "-p", "no:cacheprovider", "--durations=20", *at_once]
    paths = [f"tests/test_{file}.py" for file in files]
    return Step(name, [sys.executable, "-m", "pytest", *options, *paths], limit)


def steps(out: Path, capability: str) -> Iterator[Step]:
    """The longest one last: Triton compiles some two thousand variants for its tests."""
    python = sys.executable
    yield Step("build", [python, "setup.py", "build_ext", "--inplace"], 120)
    yield tests("tests, CUDA", OPERATIONS, 120, "not triton")
    driver = str(out / "driver")
    sources = [*sorted((ROOT / "csrc/cuda").glob("*.cu")), ROOT / "tests/cuda_on_host/driver.cpp"]
    nvcc = ["nvcc", "-std=c++17", "-O3", "-lineinfo", "--threads=0"]
    nvcc.append(f"-arch=sm_{capability.replace('.', '')}")
    yield Step("driver, build", [*nvcc, "-x", "cu", *map(str, sources), "-o", driver], 60)
    yield Step("driver", [driver], 30)
    if sanitizer := shutil.which("compute-sanitizer"):
        for tool in ("memcheck", "racecheck", "initcheck"):
            yield Step(tool, [sanitizer, "--tool", tool, "--error-exitcode", "1", driver], 60)
    else:
        print("no compute-sanitizer here: its steps are left out")
    yield Step("floors", [python, "-m", "benchmarks.gpu_floors", str(out)], 90)
    yield Step("benchmarks", [python, "-m", "benchmarks.gpu", str(out)], 150)
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        print(f"no {', '.join(missing)} here: tests and benchmarks of training are left out")
    else:
        yield tests("tests of training", TRAINING, 90, "")
        yield Step("step benchmarks", [python, "-m", "benchmarks.gpu_step", str(out)], 120)
    yield tests("tests, Triton", OPERATIONS, BUDGET, "triton")


def _heeds_interrupts() -> None:
    """What a shell starts in the background ignores them, and so would what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(step: Step, out: Path, environment: dict[str, str], limit: float) -> tuple[str, float]:
    """What became of it, and its seconds. At its limit it is interrupted, and may still say what it found."""
    start = time.monotonic()
    log = out / f"{step.name.replace(', ', '-')}.log"
    with log.open("w") as file:
        try:
            process = subprocess.Popen(
                step.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                preexec_fn=_heeds_interrupts,
            )
        except OSError as error:
            return f"could not start: {error}", time.monotonic() - start
        try:
            code = process.wait(limit)
            result = "ok" if code == 0 else f"failed ({code}), see {log}"
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            process.kill()
            process.wait()
            result = f"took longer than {limit:.0f} s, see {log}"
    return result, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out.resolve()
    if not torch.cuda.is_available():
        parser.error("there is no GPU that this PyTorch can use")
    out.mkdir(parents=True, exist_ok=True)
    major, minor = torch.cuda.get_device_capability()
    environment = os.environ | {
        "TORCH_CUDA_ARCH_LIST": f"{major}.{minor}",
        "FORCE_CUDA": "1",
        "PYTHONPATH": str(ROOT),
    }
    results = []
    end = time.monotonic() + BUDGET
    for step in steps(out, f"{major}.{minor}"):
        print(f"{step.name} ...", flush=True)
        limit = min(step.limit, max(end - time.monotonic(), 1))
        results.append((step.name, *run(step, out, environment, limit)))
    for table in (out / "gpu-floors.md", out / "gpu.md", out / "gpu-step.md"):
        print("\n" + table.read_text() if table.exists() else f"\nno {table.name}")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for name, result, seconds in results:
        print(f"{name:20}{seconds:6.0f} s  {result}")
    raise SystemExit(any(result != "ok" for _, result, _ in results))


if __name__ == "__main__":
    main()
