"""A training step as a list of native calls, and its replay in one call.

:class:`Tape` checks sizes and memory as calls are added; afterwards nothing is checked. It keeps the tensors
of its calls alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.cpu.tape.activations import ActivationCalls
from fastgan.kernels.cpu.tape.losses import LossCalls
from fastgan.kernels.cpu.tape.norms import NormCalls
from fastgan.kernels.cpu.tape.products import OneHot, ProductCalls, packed_size
from fastgan.kernels.cpu.tape.samples import SampleCalls
from fastgan.kernels.cpu.tape.tables import TableCalls, rows_of_entropy
from fastgan.kernels.cpu.tape.updates import UpdateCalls

__all__ = ["OneHot", "Tape", "packed_size", "replay", "rows_of_entropy"]


class Tape(ProductCalls, SampleCalls, ActivationCalls, TableCalls, NormCalls, LossCalls, UpdateCalls):
    """Calls on float32 tensors."""


def replay(
    tapes: Sequence[Tape],
    order: list[int],
    least: int,
    threads: int,
    seconds: float,
    is_stopping: Callable[[], bool],
) -> int:
    """Run ``tapes[i]`` for each i of ``order``, without the GIL; return how many were run.

    Handlers of signals run meanwhile, about once a millisecond.

    Args:
        tapes: the tapes.
        order: indices of tapes.
        least: number of tapes to run in any case.
        threads: number of threads to run them.
        seconds: time after which no other tape begins.
        is_stopping: called now and then; no other tape begins once it returns True.
    """
    return int(_cpu.replay([tape._calls for tape in tapes], order, least, threads, seconds, is_stopping))
