"""The C++ kernels, and on the host the CUDA kernels, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
COMPILER = shutil.which("g++")
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g"
# Small shapes reach every path but threads: red zones lie around each tensor, whatever its size.
SELECTION = "not 16383 and not 16385 and not 40000 and not 200"
FILES = ["test_losses.py", "test_head.py", "test_layers.py", "test_extremes.py", "test_repeatability.py"]

Sanitized = Callable[..., "subprocess.CompletedProcess[str]"]


def library(name: str) -> str | None:
    """Its path, or None where the compiler has none."""
    if COMPILER is None:
        return None
    path = subprocess.check_output([COMPILER, f"-print-file-name={name}"], text=True).strip()
    return path if os.path.isabs(path) else None


pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs g++"),
    pytest.mark.skipif(library("libasan.so") is None, reason="needs libasan"),
    pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs the sources"),
]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Sanitized:
    """Runs Python with a copy of the package whose extension is instrumented."""
    folder = tmp_path_factory.mktemp("sanitized")
    for name in ("csrc", "fastgan"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={
            **os.environ,
            "CXX": COMPILER,
            "CXXFLAGS": FLAGS,
            "LDFLAGS": "-fsanitize=address,undefined",
            "FASTGAN_NO_CUDA": "1",
        },
        check=True,
        capture_output=True,
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(folder),
                "FASTGAN_TESTED": str(folder),
                # libstdc++ as well: libasan looks for __cxa_throw when it starts
                "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so.6')}",
                "FASTGAN_CUDA_ON_HOST_FLAGS": FLAGS,
                "ASAN_OPTIONS": "detect_leaks=0",
                "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.mark.parametrize("backend", ["cpp", "cuda"])
def test_the_table(sanitized: Sanitized, backend: str) -> None:
    options = [
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-k",
        f"{backend} and {SELECTION}",
    ]
    result = sanitized("-m", "pytest", "-x", *options, *(str(TESTS / name) for name in FILES))
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]


def test_the_net_holds(sanitized: Sanitized) -> None:
    """One logit more than there are is an error, and not a silent one."""
    call = (
        "import torch; from fastgan import _C; t = torch.zeros(1000); loss = torch.zeros(())\n"
        "_C.loss(1, t.data_ptr(), 1000 + {}, 1.0, 0, 0, 0.0, 1, 1.0, True, loss.data_ptr(), 1, 0, 1)"
    )
    right, wrong = sanitized("-c", call.format(0)), sanitized("-c", call.format(1))
    assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0
    assert "heap-buffer-overflow" in wrong.stderr
