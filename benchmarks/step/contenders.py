"""The contenders of the training step."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.operations.contenders import jax_runs_on
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager, Graphed
from benchmarks.step.problem import Contender, Problem

Make = Callable[[], Contender]
JAX = "JAX jit"
_SMALL = 5e9  # flops of a step on a CPU up to which doing many steps in one call saves noticeable time
_STEPS_A_CALL = 100  # between two log points of fastgan's trainer


def contenders(
    problem: Problem, device: str, precision: str = "fp32", modes: tuple[str, ...] = ("max-autotune",)
) -> Iterator[tuple[str, Make]]:
    """Name and factory of each contender.

    Args:
        modes: modes of torch.compile besides the default one. Not used with R1, as torch.compile has no
            second derivatives.
    """
    at_once = _STEPS_A_CALL if device == "cpu" and problem.flops() < _SMALL else 1
    yield "fastgan", partial(Fastgan, problem, device, at_once, precision)
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

        yield JAX, partial(Jax, problem)
        if device == "cuda" or at_once > 1:
            yield f"{JAX}, scan of {_STEPS_A_CALL}", partial(Jax, problem, _STEPS_A_CALL)


def at_jax_best(seconds: dict[str, list[float]]) -> tuple[dict[str, list[float]], str | None]:
    """Keeps only JAX's fastest way, under the name :data:`JAX`.

    Args:
        seconds: seconds per step of each contender in each round.

    Returns:
        Those that are kept, and the name of JAX's fastest way; None without JAX.
    """
    ways = [name for name in seconds if name.startswith(JAX)]
    if not ways:
        return seconds, None
    best = min(ways, key=lambda name: statistics.median(seconds[name]))
    return {name: each for name, each in seconds.items() if name not in ways} | {JAX: seconds[best]}, best
