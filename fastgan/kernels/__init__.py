"""The kernels, one class per backend, and the choice of a backend for a tensor.

Backends take and return plain strided tensors, without autograd. CPU tensors use ``cpu``, else ``reference``.
CUDA and ROCm tensors use ``cuda``, else ``triton``, else ``reference``.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache

import torch
from torch import Tensor

from fastgan.kernels.cpu import Cpu
from fastgan.kernels.cuda import Cuda
from fastgan.kernels.forcing import BACKENDS, CHOICES, BackendError, calls, innermost
from fastgan.kernels.reference import Reference as Reference

# Best first. Devices not listed use the reference.
_PREFERRED = {"cpu": ("cpu", "reference"), "cuda": ("cuda", "triton", "reference")}
reference = Reference()


@cache
def load(name: str) -> Reference:
    """Load a backend by name. Importing Triton takes a third of a second, so this is done on first use.

    Raises:
        ImportError: the backend is "triton", and Triton is not installed.
    """
    if name == "triton":
        from fastgan.kernels.triton import Triton

        return Triton()
    return {"cpu": Cpu, "cuda": Cuda}[name]() if name != "reference" else reference


@cache
def why_not(name: str, device: torch.device) -> str | None:
    """The reason why a backend cannot run on a device, with the remedy; None if it can."""
    try:
        return load(name).why_not(device)
    except ImportError as error:
        return f"Triton cannot be imported ({error}); on Linux, `pip install triton` brings it"


def available_backends(device: str | torch.device = "cpu") -> list[str]:
    """Return the backends that can run on this type of device on this machine, best first."""
    device = torch.device(device)
    names = _PREFERRED.get(device.type, ("reference",))
    return [name for name in names if why_not(name, device) is None]


def report() -> list[tuple[str, str | None]]:
    """List all backends, each with the reason why it cannot run on this machine, or None if it can."""
    gpu = torch.device("cuda")
    return [
        ("cpu", why_not("cpu", torch.device("cpu"))),
        ("cuda", why_not("cuda", gpu)),
        ("triton", why_not("triton", gpu)),
        ("reference", None),
    ]


_CPU = torch.device("cpu")


def choose(tensor: Tensor) -> Reference:
    """Return the backend for a tensor: the forced one, else the best available on its device."""
    return _choose(_CPU if tensor.is_cpu else tensor.device, innermost.get() or calls[-1][0])


@cache
def _choose(device: torch.device, forced: str | None) -> Reference:
    if forced:
        if forced not in BACKENDS:
            raise BackendError(f"FASTGAN_BACKEND={forced!r} is not a backend; {CHOICES}, or unset it")
        reason = why_not(forced, device)
        if reason is not None:
            raise BackendError(f"the {forced} backend was requested but cannot run: {reason}")
        return load(forced)
    preferred = _PREFERRED.get(device.type)
    if preferred is None:
        _warn(f"fastgan has no kernels for {device.type} tensors and uses plain PyTorch")
        return reference
    best = available_backends(device)[0]
    missing = [f"{name}: {why_not(name, device)}" for name in preferred[: preferred.index(best)]]
    if missing:
        used = "plain PyTorch" if best == "reference" else best
        _warn(f"fastgan runs on {used} here. {'; '.join(missing)}")
    return load(best)


def _warn(message: str) -> None:
    """Warn at the user's line: the innermost frame outside fastgan and PyTorch."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastgan", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)
