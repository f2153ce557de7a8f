"""The forced backend: set by FASTGAN_BACKEND, by a plain call of use_backend, or by its ``with`` block."""

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
# Requested names, newest last, each with a weak reference to its use_backend object. If the object is gone,
# the call can no longer become a ``with`` block: it was a plain call.
calls: list[tuple[str | None, Callable[[], object]]] = [(os.environ.get("FASTGAN_BACKEND"), lambda: None)]
_lock = threading.Lock()
innermost: ContextVar[str | None] = ContextVar("fastgan_backend", default=None)


class BackendError(RuntimeError):
    """The requested backend cannot run here; the message gives the reason and the remedy."""


class use_backend:  # noqa: N801 - called like a function
    """Run every fastgan operation on one backend: from now on, or inside a ``with`` block.

    A plain call applies to the whole process until the next call. As a context manager or a decorator it
    applies inside the block, and meanwhile to threads without a block of their own, including those started
    in the block. An operation that this backend cannot run raises RuntimeError. A backward pass uses the
    backend of its forward pass, wherever it runs.

    Args:
        name: "cpu", "cuda", "triton" or "reference".

    Raises:
        ValueError: there is no backend of that name.

    Example:
        >>> fastgan.use_backend("reference")
        >>> with fastgan.use_backend("cpu"):
        ...     loss = fastgan.generator_loss(logits)
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"use_backend() got {name!r}, which is not a backend; {CHOICES}")
        self.name = name
        self._call = (name, weakref.ref(self))
        self._outer: Token[str | None] | None = None
        self._begin()

    def _begin(self) -> None:
        if innermost.get() is not None:  # otherwise an enclosing block would hide this call
            self._outer = innermost.set(self.name)
        with _lock:
            *replaced, _ = [call for call in calls if call[1]() is None]
            calls[:] = [*(call for call in calls if call not in replaced), self._call]

    def __enter__(self) -> None:
        if self._call not in calls:  # re-entered after an exit
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
        self.__exit__()  # applies only inside the function

        @functools.wraps(function)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with use_backend(self.name):
                return function(*args, **kwargs)

        return wrapped


def forced_in_words() -> str:
    """Describe the choice made by use_backend or FASTGAN_BACKEND."""
    name = innermost.get() or calls[-1][0]
    if not name:
        return "none: each device gets its best one"
    return name if name in BACKENDS else f"{name!r}, not a backend; {CHOICES}, or unset FASTGAN_BACKEND"
