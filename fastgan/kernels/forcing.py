"""Which backend is forced: by FASTGAN_BACKEND, by a bare use_backend, or by a block of one."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

BACKENDS = ("cpu", "cuda", "triton", "reference")
CHOICES = f"choose one of {', '.join(BACKENDS)}"
# The names asked for, the newest last, each with its use_backend object while that one is alive. A call that
# nobody has kept cannot become a block any more: it was a bare one.
calls: list[tuple[str | None, Callable[[], object]]] = [(os.environ.get("FASTGAN_BACKEND"), lambda: None)]
_lock = threading.Lock()
innermost: ContextVar[str | None] = ContextVar("fastgan_backend", default=None)


class BackendError(RuntimeError):
    """The backend that was asked for cannot run here; the message says why, and what helps."""


class use_backend:  # noqa: N801 - called like a function
    """Serve every fastgan operation from one backend: from now on, or inside a ``with`` block.

    Called bare, it holds for the whole process until it is called again. As a context manager or a decorator
    it holds inside the block, and meanwhile in threads that have no block of their own, so in those that the
    block starts. An operation that this backend cannot serve raises RuntimeError. A backward pass uses the
    backend of its forward pass, wherever it runs.

    Args:
        name: "cpu", "cuda", "triton" or "reference".

    Raises:
        ValueError: no backend has that name.

    Example:
        >>> fastgan.use_backend("reference")
        >>> with fastgan.use_backend("cpu"):
        ...     loss = fastgan.generator_loss(logits)
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"use_backend() names no backend: {name!r}; {CHOICES}")
        self.name = name
        self._call = (name, weakref.ref(self))
        self._outer: Token[str | None] | None = None
        self._begin()

    def _begin(self) -> None:
        if innermost.get() is not None:  # a block around it would hide it
            self._outer = innermost.set(self.name)
        with _lock:
            *replaced, _ = [call for call in calls if call[1]() is None]
            calls[:] = [*(call for call in calls if call not in replaced), self._call]

    def __enter__(self) -> None:
        if self._call not in calls:  # entered once more
            self._begin()
        if self._outer is None:
            self._outer = innermost.set(self.name)

    def __exit__(self, *error: object) -> None:
        with _lock:
            calls.remove(self._call)
        if self._outer is not None:
            innermost.reset(self._outer)
            self._outer = None

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        self.__exit__()  # it holds in the function alone

        @functools.wraps(function)
        def served(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with use_backend(self.name):
                return function(*args, **kwargs)

        return served


def forced_name() -> str | None:
    """The name that holds in this thread now."""
    return innermost.get() or calls[-1][0]


def forced_in_words() -> str:
    """What use_backend or FASTGAN_BACKEND asks for, in words."""
    name = forced_name()
    if not name:
        return "none: each device gets its best one"
    return name if name in BACKENDS else f"{name!r}, which is none; {CHOICES}, or unset FASTGAN_BACKEND"
