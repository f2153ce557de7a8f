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
    """Call ``stop`` at a signal's first arrival; its second ends the process at once, as without this.

    Only the main thread can heed signals: elsewhere they do what they did before.
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
        previous[signal.SIGTERM] = signal.SIG_IGN  # torchrun sends it, perhaps before this is told
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Leave them to the process that trains: a terminal or scheduler sends them to its workers as well."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
