"""Who competes in a case."""

from __future__ import annotations

import gc
import importlib.util
import os
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

import fastgan
from benchmarks.contest import Sample, check_agreement
from benchmarks.operations.in_pytorch import Graphed, InPyTorch
from benchmarks.operations.operation import Case, Direction

RTOL = {"fp32": 1e-4, "bf16": 3e-2}


class Contender(Protocol):
    def results(self) -> list[Tensor]:
        """The output, and the gradient of each input."""

    def sample(self, direction: Direction) -> Sample | None:
        """None where it cannot run this direction by itself."""


def contenders(case: Case, device: str, *, tuned: bool = True) -> dict[str, Contender]:
    """Each of them compiled, and its results checked; ``tuned``: max-autotune, too, which takes its time."""
    torch.compiler.reset()
    gc.collect()
    inputs = case.inputs(device)
    expected, grad = case.expected(inputs)
    make = partial(InPyTorch, inputs=inputs, grad=grad, device=device)
    operation = case.operation
    usual = next(iter(operation.eager.values()))
    made: dict[str, Contender] = {"fastgan": make(operation.ours)}
    for backend in fastgan.available_backends(device)[1:]:
        context = partial(fastgan.use_backend, backend)
        made[f"fastgan, {backend}"] = make(operation.ours, context=context)
    for name, function in operation.eager.items():
        made[name] = make(function)
    if device == "cuda":
        made["eager in a CUDA graph"] = Graphed(usual, inputs, grad, device)
    made["torch.compile"] = make(torch.compile(usual, dynamic=False))
    if tuned and (operation.has_products or device == "cuda"):
        function = torch.compile(usual, dynamic=False, mode="max-autotune-no-cudagraphs")
        made["torch.compile, max-autotune"] = make(function)
    if jax_runs_on(device):
        from benchmarks.operations.in_jax import InJax

        made["JAX jit"] = InJax(operation.name, inputs, grad)
    for name, contender in made.items():
        check_agreement({name: [t.to(device) for t in contender.results()]}, expected, RTOL[case.dtype])
    return made


def samples_of(made: dict[str, Contender], direction: Direction) -> dict[str, Sample]:
    """Of all that can run this direction."""
    found = {name: contender.sample(direction) for name, contender in made.items()}
    return {name: sample for name, sample in found.items() if sample is not None}


def jax_runs_on(device: str) -> bool:
    """Whether JAX is there, on this device, and on a CPU with as many threads as PyTorch: it takes all."""
    if not importlib.util.find_spec("jax"):
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # it takes most of a GPU otherwise
    import jax

    if device == "cpu" and torch.get_num_threads() != len(os.sched_getaffinity(0)):
        return False
    return jax.default_backend() == {"cuda": "gpu"}.get(device, device)
