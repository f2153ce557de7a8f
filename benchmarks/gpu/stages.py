"""The stages of a check, in order of importance."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from benchmarks.gpu.schedule import ROOT, Stage, python

# Repeats the names in benchmarks/gpu/correct.py, as this module must not import torch.
OPERATIONS = (
    *("discriminator_loss", "generator_loss", "labelled_loss", "relativistic_loss", "reconstruction_loss"),
    *("feature_matching_loss", "discriminator_head_loss", "bias_leaky_relu", "bias_act"),
    *("batch_norm_leaky_relu", "linear_leaky_relu", "mlp", "snake", "anti_aliased_snake", "upfirdn2d"),
    *("spectral_norm", "span_activations", "value_and_grad"),
)
# The test files with tests marked gpu. No others are imported.
TESTED = (
    *("autocast", "bad_input", "batch_norm", "bias_act", "capture", "cuda_kept_grads", "dynamo", "extremes"),
    *("feature_matching", "frames", "gradients", "head", "joined_norms", "kept_gradients", "large"),
    *("layers", "losses", "many_discriminators", "modulation", "norms", "r3gan", "reconstruction", "record"),
    *("registered", "repeatability", "samples", "sizes", "snake", "span_activations", "spectral_norm"),
    *("stylegan2", "table_batches", "transforms", "upfirdn2d"),
)
# These test files need PACKAGES.
TESTED_TRAINING = (
    *("adam", "captured_steps", "captured_tables", "chains", "draws", "generation", "r1", "resume", "sgd"),
    "simultaneous",
)
PACKAGES = ("matplotlib", "PIL", "rich", "safetensors", "sklearn", "tensorboard", "typer", "yaml")
DRIVER = ROOT / "build/gpu-check/driver"
UNCOMPILED = {"TORCH_COMPILE_DISABLE": "1"}  # makes torch.compile return the function unchanged
UNTUNED = {"FASTGAN_AUTOTUNE": "0"}  # checks of values do not need the fastest tile


def first(quick: bool) -> Iterator[Stage]:
    """Part 1: builds and Triton's checks in parallel, then CUDA's, then timings, one stage at a time."""
    about = "benchmarks.gpu.about"
    yield Stage("about", python(about, "versions"), need=5, limit=60)
    if quick:
        yield Stage("backends", python(about, "backends"), need=3, limit=60)
        yield Stage("correct, cpu", _correct("cpu", OPERATIONS, quick), need=3, limit=60)
    else:
        yield from _on_a_gpu(about)
    yield from _timed(quick)


def _on_a_gpu(about: str) -> Iterator[Stage]:
    """Checks each operation and backend in a separate process: an invalid access ruins a CUDA context."""
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
    """Timings: first the floors and fastgan's own goals, then torch.compile and JAX."""
    tiny = ["--quick"] if quick else []
    contests, rivals = "benchmarks.gpu.contests", "benchmarks.gpu.rivals"
    plan = [  # name, command, seconds needed, limit
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
    """Part 2: CUDA's tests marked gpu, the stages that part 1 had no time for, and Triton's tests.

    Args:
        ended: stages that ran to their end, with any result, in part 1 or in an interrupted part 2.
    """
    again = ("about", "build")  # the machine may be another one
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
    """The packages that tests of training need and that are not installed."""
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
