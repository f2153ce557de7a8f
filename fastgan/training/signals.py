"""Signals that end a run early: Ctrl-C, a scheduler's SIGTERM, and SIGHUP when a terminal closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fastgan._startup import STOPPING, heeded
from fastgan.training.distributed import LostRankError


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first signal; a second one has its usual effect and ends the process.

    Only works in the main thread, as only that can handle signals; has no effect in others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.signal(number, first) or signal.SIG_DFL for number in heeded()}
    try:
        yield
    except LostRankError:
        # torchrun sends SIGTERM to the other processes, perhaps before this error is reported
        previous[signal.SIGTERM] = signal.SIG_IGN
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore signals in a worker: terminals and schedulers send them to all processes of a run."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
