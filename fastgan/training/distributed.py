"""Training in several processes: each processes its rows of every batch.

A process draws the numbers of its own rows, which are those that a single process would draw for them
(`fastgan/training/draws.py`), so the number of processes changes results only by rounding. But batch norm
takes the statistics of a process's rows alone, and real rows of a table have the conditions of generated ones
of the same process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_TIMEOUT = timedelta(minutes=10)  # the others wait as long as rank 0 writes pictures and checkpoints


class LostRankError(RuntimeError):
    """Another process of the run is gone."""


@dataclass(frozen=True)
class World:
    """The processes of a run: one, unless torchrun started several.

    Attributes:
        rank: index of this process; rank 0 writes files.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def average(self, values: Tensor) -> None:
        """Average a buffer over all processes, in place."""
        if self.size > 1:
            self._all_reduce(values)
            values /= self.size

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.size > 1:
            values = values.clone()
            self.average(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process has set the flag."""
        return flag if self.size == 1 else bool(self.mean(torch.tensor(float(flag), device=device)).item())

    def _all_reduce(self, values: Tensor) -> None:
        try:
            dist.all_reduce(values)
        except RuntimeError as error:  # gloo; NCCL's watchdog ends the process itself
            raise LostRankError(
                f"rank {self.rank} of {self.size} lost another one ({str(error).partition(chr(10))[0]}); "
                "resume from the last checkpoint"
            ) from error


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started; without torchrun, a world of one."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # "cuda" now means this process's GPU
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
