"""Other load on the machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# ends with its parent, so that a killed benchmark leaves no load behind
_SPIN = """
import os
parent = os.getppid()
print("spinning", flush=True)
while os.getppid() == parent:
    sum(range(100_000))
"""


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keeps ``count`` other processes computing inside the context."""
    command = [sys.executable, "-S", "-c", _SPIN]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{command[0]} did not start"
        yield
    finally:
        for process in started:
            process.kill()
            process.communicate()
