"""``python -m benchmarks.gpu.about versions | backends``: describes the machine and checks the backends."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

import fastgan
from benchmarks.gpu.rows import put
from benchmarks.machine import DEVICE, about

PACKAGES = ("triton", "numpy", "jax", "jaxlib", "pytest", "pytest-xdist", "ninja", "pybind11")
WANTED = {"cuda": ["cuda", "triton"], "cpu": ["cpu"]}


def versions() -> None:
    put(
        "about",
        "versions",
        **about(DEVICE),
        is_gpu=DEVICE == "cuda",
        python=platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        cuda=torch.version.cuda,
        capability=list(torch.cuda.get_device_capability()) if DEVICE == "cuda" else None,
        driver=_says(
            "nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"
        ),
        nvcc=_says("nvcc", "--version"),
        cores=len(os.sched_getaffinity(0)),
    )
    if DEVICE == "cuda":
        import triton

        assert not triton.knobs.runtime.interpret, (
            "TRITON_INTERPRET is set: unset it, there is a GPU to run on"
        )


def backends() -> None:
    """Fails if a backend to check is not available, as the other stages would then check nothing."""
    found, wanted = fastgan.available_backends(DEVICE), WANTED[DEVICE]
    why = f"expected the backends {wanted}, got {found}: {fastgan.kernels.report()}"
    assert found[: len(wanted)] == wanted, why
    x = torch.randn(10, 100, device=DEVICE)
    for name in wanted:
        with fastgan.use_backend(name):
            assert torch.isfinite(fastgan.bias_leaky_relu(x)).all()
    put("backends", ", ".join(wanted), status="ok")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _says(*command: str) -> str | None:
    """The last line that a program prints; None if the program is missing or prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.strip().splitlines()
    return said[-1] if said else None


if __name__ == "__main__":
    {"versions": versions, "backends": backends}[sys.argv[1]]()
