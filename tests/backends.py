"""What the table of tests runs on. A new backend is one more line in BACKENDS."""

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
        """Why it cannot run here."""
        return kernels.why_not(self.name, torch.device(self.device))


GPU = "cuda" if torch.cuda.is_available() else "cpu"  # on the CPU: kernels on the host, and interpreted
BACKENDS = [
    Backend("reference"),
    Backend("cpu"),
    Backend("cuda", device=GPU),
    Backend("triton", device=GPU),
]
# The same, and the cpu kernels once for each instruction set that this machine runs.
VARIANTS = BACKENDS + [Backend("cpu", instruction_set=name) for name in INSTRUCTION_SETS[:-1]]

assert set(fastgan.available_backends()) <= {backend.name for backend in BACKENDS}
