"""The backends that the tests run on. To test a new one, add a line to BACKENDS."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

import cuda_on_host
import torch
import triton_interpreter

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported
    if importlib.util.find_spec("triton") is not None:
        triton_interpreter.prepare()
    if cuda_on_host.why_not() is None:
        cuda_on_host.load()  # before fastgan looks for its CUDA kernels

import fastgan
from fastgan import kernels

try:
    from fastgan import _cpu
except ImportError:
    INSTRUCTION_SETS = []
else:
    INSTRUCTION_SETS = _cpu.instruction_sets()


@dataclass(frozen=True)
class Backend:
    name: str
    device: str = "cpu"
    instruction_set: str | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.instruction_set}" if self.instruction_set else self.name

    @property
    def is_interpreted(self) -> bool:
        return self.name in ("cuda", "triton") and self.device == "cpu"

    @property
    def why_not(self) -> str | None:
        """The reason why the backend cannot run here; None if it can."""
        return kernels.why_not(self.name, torch.device(self.device))


GPU = "cuda" if torch.cuda.is_available() else "cpu"  # on a CPU, CUDA runs on the host and Triton interpreted
BACKENDS = [
    Backend("reference"),
    Backend("cpu"),
    Backend("cuda", device=GPU),
    Backend("triton", device=GPU),
]
# BACKENDS, and the cpu backend with each instruction set below the best one of this machine.
VARIANTS = BACKENDS + [Backend("cpu", instruction_set=name) for name in INSTRUCTION_SETS[:-1]]

assert set(fastgan.available_backends()) <= {backend.name for backend in BACKENDS}
