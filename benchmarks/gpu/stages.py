"""What a check consists of, in the order in which it is most wanted."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from benchmarks.gpu.schedule import ROOT, Stage, python

# as benchmarks/gpu/correct.py has them; that module needs torch, and this one must not
OPERATIONS = (
    *("discriminator_loss", "generator_loss", "labelled_loss", "relativistic_loss", "reconstruction_loss"),
    *("discriminator_head_loss", "bias_leaky_relu", "linear_leaky_relu", "mlp", "value_and_grad"),
)
# the files under tests/ that have tests marked gpu; they alone are imported
TESTED = (
    *("autocast", "bad_input", "capture", "cuda_kept_grads", "dynamo", "extremes", "gradients", "head"),
    *("frames", "kept_gradients", "large", "layers", "losses", "many_discriminators", "reconstruction"),
    *("record", "registered", "repeatability", "sizes", "transforms"),
)
# they need these packages
TESTED_TRAINING = ("adam", "captured_steps", "draws", "generation", "r1", "resume", "simultaneous")
PACKAGES = ("matplotlib", "PIL", "rich", "safetensors", "sklearn", "tensorboard", "typer", "yaml")
DRIVER = ROOT / "build/gpu-check/driver"
UNCOMPILED = {"TORCH_COMPILE_DISABLE": "1"}  # torch.compile then leaves a function as it is
UNTUNED = {"FASTGAN_AUTOTUNE": "0"}  # right numbers need no best tile


def first(quick: bool) -> Iterator[Stage]:
    """Part 1: builds and Triton's checks side by side, then CUDA's, then times, one stage at a time."""
    about = "benchmarks.gpu.about"
    yield Stage("about", python(about, "versions"), need=5, limit=60)
    if quick:
        yield Stage("backends", python(about, "backends"), need=3, limit=60)
        yield Stage("correct, cpu", _correct("cpu", OPERATIONS, quick), need=3, limit=60)
    else:
        yield from _on_a_gpu(about)
    yield from _timed(quick)


def _on_a_gpu(about: str) -> Iterator[Stage]:
    """Each operation on each backend in a process of its own: a bad address ends a CUDA context for good."""
    build = "benchmarks.gpu.build"
    yield Stage("build", python(build, "modules"), need=10, limit=150)
    yield Stage("driver, build", python(build, "driver", str(DRIVER)), need=20, limit=120)
    for name in OPERATIONS:
        command = _correct("triton", [name], False)
        yield Stage(f"correct, triton, {name}", command, need=15, limit=90, environment=UNTUNED)
    yield Stage("backends", python(about, "backends"), need=5, limit=40, after=("build",))
    for name in OPERATIONS:
        command = _correct("cuda", [name], False)
        yield Stage(f"correct, cuda, {name}", command, need=8, limit=60, after=("build",))
    for backend in ("cuda", "triton"):
        command = python("benchmarks.gpu.captured", backend)
        needed, tiles = ("build",), UNTUNED
        yield Stage(f"captured, {backend}", command, 8, 60, after=needed, environment=tiles)
    program = "benchmarks.gpu.program"
    driver = ("driver, build",)
    yield Stage("driver", python(program, "driver", str(DRIVER)), need=3, limit=30, after=driver)
    sanitizer = shutil.which("compute-sanitizer") or "compute-sanitizer"
    for tool in ("memcheck", "racecheck"):
        tried = [sanitizer, "--tool", tool, "--error-exitcode", "1", str(DRIVER)]
        yield Stage(tool, python(program, tool, *tried), need=10, limit=40, after=driver)


def _timed(quick: bool) -> Iterator[Stage]:
    """What fastgan is held to first, then who it is held against."""
    tiny = ["--quick"] if quick else []
    contests, rivals = "benchmarks.gpu.contests", "benchmarks.gpu.rivals"
    plan = [  # seconds needed, and granted
        ("bandwidth", python(contests, "bandwidth", *tiny), 30, 75),
        ("a layer against its products", python(contests, "layer", *tiny), 12, 30),
        ("step", python("benchmarks.gpu.steps", *tiny), 20, 50),
        ("torch.compile", python(rivals, "torch.compile", *tiny), 30, 120),
        ("JAX", python(rivals, "JAX", *tiny), 20, 90),
    ]
    for name, command, need, limit in plan:
        need, environment = (2, UNCOMPILED) if quick else (need, {})
        yield Stage(name, command, need, limit, alone=True, environment=environment)


def _correct(backend: str, operations: Sequence[str], quick: bool) -> list[str]:
    return python("benchmarks.gpu.correct", backend, *operations, *(["--quick"] if quick else []))


def second(quick: bool, ended: Collection[str]) -> list[Stage]:
    """Part 2: the tests marked gpu, and before Triton's, the longest, what part 1 had no time for.

    Args:
        ended: stages that ran to their end, well or badly, in part 1 or in a part 2 that was interrupted.
    """
    again = ("about", "build")  # of another machine, perhaps
    return [stage for stage in _second(quick) if stage.name in again or stage.name not in ended]


def _second(quick: bool) -> Iterator[Stage]:
    left = {stage.name: stage for stage in first(quick)}
    yield left.pop("about")
    if quick:
        yield _tests("tests, cpu", ("head",), "cpu and float32 and mean", 3, 60, ())
        yield from left.values()
        return
    yield left.pop("build")
    training = () if missing() else TESTED_TRAINING
    yield _tests("tests, CUDA", TESTED + training, "not triton", 40, 120, ("build",))
    yield from left.values()
    yield _tests("tests, Triton", TESTED, "triton", 100, 600, ("build",))


def missing() -> list[str]:
    """Packages without which training cannot be tested."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _tests(
    name: str, files: Sequence[str], chosen: str, need: float, limit: float, after: tuple[str, ...]
) -> Stage:
    at_once = ["-n", str(min(os.cpu_count() or 1, 14))] if importlib.util.find_spec("xdist") and after else []
    marked = ["-m", "gpu"] if after else []
    options = [*marked, "-k", chosen, "-p", "no:cacheprovider", "-p", "benchmarks.gpu.pytest_rows"]
    paths = [str(Path("tests") / f"test_{file}.py") for file in files]
    command = [sys.executable, "-m", "pytest", *options, "--durations=20", *at_once, *paths]
    return Stage(name, command, need, limit, after, alone=True, environment={"FASTGAN_TESTS": name})
