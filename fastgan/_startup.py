"""Ctrl-C while the command line imports torch, which takes seconds. To be imported before anything else."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


# what ends a program early: Ctrl-C, a scheduler, a terminal that closes; Windows has no SIGHUP
STOPPING = [
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
]


def heeded() -> list[signal.Signals]:
    """Those of ``STOPPING`` that are not ignored, as nohup and a shell's background have it."""
    return [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]


def finish() -> None:
    """The imports are done: from now on each of ``STOPPING`` raises KeyboardInterrupt."""
    for number in heeded():
        signal.signal(number, signal.default_int_handler)


def _guard() -> None:
    # KeyboardInterrupt is no use here: what is being imported may catch it or turn it into another error
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"fastgan: interrupted\n")
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether this process was started as ``fastgan`` or ``python -m fastgan``."""
    words = sys.orig_argv
    if sys.argv[:1] == ["-m"]:
        return words[words.index("-m") + 1] == "fastgan"
    # a worker that multiprocessing spawned has the command's argv, but was not started with it
    return sys.argv[0] in words and os.path.basename(sys.argv[0]).partition(".")[0] == "fastgan"


_guard()
