"""The contenders of the training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.operations.contenders import jax_runs_on
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager, Graphed
from benchmarks.step.problem import Contender, Problem

Make = Callable[[], Contender]
_DISPATCH_COUNTS = 5e9  # flops of a step on a CPU above which a scan saves no noticeable time


def contenders(
    problem: Problem, device: str, precision: str = "fp32", modes: tuple[str, ...] = ("max-autotune",)
) -> Iterator[tuple[str, Make]]:
    """Name and factory of each contender.

    Args:
        modes: modes of torch.compile besides the default one. Not used with R1, as torch.compile has no
            second derivatives.
    """
    yield "fastgan", partial(Fastgan, problem, device, precision=precision)
    yield "eager", partial(Eager, problem, device, precision=precision)
    if not problem.r1_gamma:
        yield "torch.compile", partial(Eager, problem, device, "default", precision)
        for mode in modes:
            yield f"torch.compile, {mode}", partial(Eager, problem, device, mode, precision)
    if device == "cuda":
        yield "fastgan, 10 steps a graph", partial(Fastgan, problem, device, 10, precision)
        yield "eager in a CUDA graph", partial(Graphed, problem, device, precision)
    # last, as jax_runs_on imports JAX
    if precision == "fp32" and jax_runs_on(device):
        from benchmarks.step.in_jax import Jax

        yield "JAX jit", partial(Jax, problem)
        if device == "cuda" or problem.flops() < _DISPATCH_COUNTS:
            yield "JAX jit, scan of 10", partial(Jax, problem, 10)
