"""The contenders of a case."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
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
        """The output, then the gradient of each input."""

    def sample(self, direction: Direction) -> Sample | None:
        """None if the contender cannot run this direction separately."""


Make = Callable[[], Contender]


def makes(case: Case, inputs: list[Tensor], grad: Tensor, device: str) -> Iterator[tuple[str, Make]]:
    """Name and factory of each contender. JAX comes last, as asking for it imports it."""
    make = partial(InPyTorch, inputs=inputs, grad=grad, device=device)
    operation = case.operation
    usual = next(iter(operation.eager.values()))
    yield "fastgan", partial(make, operation.ours)
    for backend in fastgan.available_backends(device)[1:]:
        context = partial(fastgan.use_backend, backend)
        yield f"fastgan, {backend}", partial(make, operation.ours, context=context)
    for name, function in operation.eager.items():
        yield name, partial(make, function)
    if device == "cuda":
        yield "eager in a CUDA graph", partial(Graphed, usual, inputs, grad, device)
    yield "torch.compile", lambda: make(torch.compile(usual, dynamic=False))
    if operation.has_products or device == "cuda":
        mode = "max-autotune-no-cudagraphs"
        yield "torch.compile, max-autotune", lambda: make(torch.compile(usual, dynamic=False, mode=mode))
    if jax_runs_on(device):
        from benchmarks.operations.in_jax import InJax

        yield "JAX jit", partial(InJax, operation.name, inputs, grad)


def check(name: str, contender: Contender, expected: list[Tensor], case: Case) -> None:
    found = [t.to(expected[0].device) for t in contender.results()]
    check_agreement({name: found}, expected, RTOL[case.dtype])


def contenders(case: Case, device: str) -> dict[str, Contender]:
    """All contenders, compiled and checked."""
    torch.compiler.reset()
    gc.collect()
    inputs = case.inputs(device)
    expected, grad = case.expected(inputs)
    made = {name: make() for name, make in makes(case, inputs, grad, device)}
    for name, contender in made.items():
        check(name, contender, expected, case)
    return made


def samples_of(made: dict[str, Contender], direction: Direction) -> dict[str, Sample]:
    """The samples of all contenders that can run this direction."""
    found = {name: contender.sample(direction) for name, contender in made.items()}
    return {name: sample for name, sample in found.items() if sample is not None}


def jax_runs_on(device: str) -> bool:
    """Whether JAX runs on this device and, on a CPU, with as many threads as PyTorch: JAX uses all cores."""
    if not importlib.util.find_spec("jax"):
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of a GPU's memory
    import jax

    if device == "cpu" and torch.get_num_threads() != len(os.sched_getaffinity(0)):
        return False
    return jax.default_backend() == {"cuda": "gpu"}.get(device, device)
