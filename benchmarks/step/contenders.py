"""Who competes over the training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.operations.contenders import jax_runs_on
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager, Graphed
from benchmarks.step.problem import Contender, Problem

Make = Callable[[], Contender]
_DISPATCH_COUNTS = 5e9  # up to so many flops on a CPU it is worth asking what a scan saves


def contenders(
    problem: Problem, device: str, precision: str = "fp32", modes: tuple[str, ...] = ("max-autotune",)
) -> Iterator[tuple[str, Make]]:
    """``modes`` of torch.compile besides the default one; it has no second derivatives, so no R1 either."""
    yield "fastgan", partial(Fastgan, problem, device, precision=precision)
    yield "eager", partial(Eager, problem, device, precision=precision)
    if not problem.r1_gamma:
        yield "torch.compile", partial(Eager, problem, device, "default", precision)
        for mode in modes:
            yield f"torch.compile, {mode}", partial(Eager, problem, device, mode, precision)
    if device == "cuda":
        yield "fastgan, 10 steps a graph", partial(Fastgan, problem, device, 10, precision)
        yield "eager in a CUDA graph", partial(Graphed, problem, device, precision)
    # asked last: the question imports JAX
    if precision == "fp32" and jax_runs_on(device):
        from benchmarks.step.in_jax import Jax

        yield "JAX jit", partial(Jax, problem)
        if device == "cuda" or problem.flops() < _DISPATCH_COUNTS:
            yield "JAX jit, scan of 10", partial(Jax, problem, 10)
