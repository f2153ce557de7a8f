"""Runs Python with libraries that are compiled with AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILER = shutil.which("g++")
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g1"
# Small shapes reach every path but threads, and red zones surround tensors of any size. One dtype of four
# bytes and one of two are enough, as all dtypes share templates. Sums access the same memory as means.
SELECTION = " and ".join(
    f"not {name}" for name in ("16383", "16385", "40000", "200", "torch.float64", "torch.float16", "sum")
)
FILES = [
    "test_losses.py",
    "test_head.py",
    "test_reconstruction.py",
    "test_feature_matching.py",
    "test_batch_norm.py",
    "test_layers.py",
    "test_spectral_norm.py",
    "test_snake.py",
    "test_span_activations.py",
    "test_table_batches.py",
    "test_simultaneous.py",
    "test_extremes.py",
    "test_draws.py",
    "test_repeatability.py",
]


def library(name: str) -> str | None:
    """The library's path; None if the compiler does not have it."""
    if COMPILER is None:
        return None
    path = subprocess.check_output([COMPILER, f"-print-file-name={name}"], text=True).strip()
    return path if os.path.isabs(path) else None


def why_not() -> str | None:
    if COMPILER is None:
        return "needs g++"
    return "needs libasan" if library("libasan.so") is None else None


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the sanitizers' runtime in a folder, and import that folder's fastgan."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={
            **os.environ,
            # libstdc++ as well: libasan looks for __cxa_throw when it starts
            "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so.6')}",
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def run_table_and_fuzz(
    folder: Path, backend: str, calls: int, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the tests of operations, and mismatched calls, on one backend of the fastgan in the folder.

    Both run in one process, because importing torch takes longer than either.
    """
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests")]),
        "FASTGAN_TESTED": str(folder),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # these tests need none
    }
    options = ["-x", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    # on the host, blocks of a CUDA kernel run one after the other, and large calls take the same path
    # and tests/cuda_on_host/driver.cpp has the draws
    left_out = {"test_repeatability.py", "test_draws.py"} if backend == "cuda" else set()
    files = [str(ROOT / "tests" / name) for name in FILES if name not in left_out]
    tests = [*options, "-k", f"{backend} and {SELECTION}", *files]
    program = (
        "import sys, fuzz, pytest, torch\n"
        "torch.set_num_threads(1)\n"
        f"fuzz.main({backend!r}, 0, {calls})\n"
        f"sys.exit(pytest.main({tests!r}))"
    )
    return run(folder, "-c", program, **environment)
