"""The memory of a recorded step: one buffer, planned before the first step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_ALIGNMENT = 64  # elements, four cache lines: threads that write next to each other share none


class Arena:
    """Hands out parts of a buffer, in the order of calls.

    Args:
        size: elements of the buffer: ``used`` of an arena that received the same calls. With None each part
            has memory of its own, to find out that size.

    Attributes:
        used: the most elements that were in use at once.
    """

    def __init__(self, size: int | None = None) -> None:
        # not zeros(): PyTorch would fill it in parallel, which never ends in a forked process
        self._buffer = None if size is None else _floats(size)
        self._next = self.used = 0

    def take(self, *shape: int) -> Tensor:
        """A float32 tensor of this shape; its elements are undefined."""
        return self._part(math.prod(shape)).view(shape)

    def take_integers(self, count: int) -> Tensor:
        """An int64 tensor ``[count]``."""
        return self._part(2 * count).view(torch.int64)

    def take_doubles(self, count: int) -> Tensor:
        """A float64 tensor ``[count]``."""
        return self._part(2 * count).view(torch.float64)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Let parts that are taken inside be handed out again afterwards."""
        before = self._next
        try:
            yield
        finally:
            self._next = before

    def _part(self, size: int) -> Tensor:
        first = self._next
        self._next += -(-size // _ALIGNMENT) * _ALIGNMENT
        self.used = max(self.used, self._next)
        return _floats(size) if self._buffer is None else self._buffer[first : first + size]


def _floats(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float32, device="cpu")
