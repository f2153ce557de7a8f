"""Stages of ``benchmarks.gpu`` in forks of a process that has imported torch, which takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from forked import MODULE, run_and_end

from benchmarks.gpu import schedule


class Forked:
    """What ``schedule`` uses of ``subprocess.Popen``, for ``python -m NAME ARGUMENT...``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str,
        env: dict[str, str],
        preexec_fn: Callable[[], None],
        **_: Any,
    ) -> None:
        python, option, name, *arguments = command
        assert (python, option) == (sys.executable, "-m")
        self.returncode: int | None = None
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading, "rb", 0)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            for to, file in enumerate((os.open(os.devnull, os.O_RDONLY), writing, writing)):
                os.dup2(file, to)
            preexec_fn()
            code = MODULE.format(arguments=[name, *arguments], name=name)
            run_and_end({"code": code, "environment": env, "folder": cwd})
        os.close(writing)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), seconds)
            time.sleep(0.01)
        return code


def main(*arguments: str) -> None:
    """``python -m benchmarks.gpu ARGUMENT...``"""
    schedule.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": Forked})  # type: ignore[assignment]
    from benchmarks.gpu.__main__ import main as check

    sys.argv = ["benchmarks.gpu", *arguments]
    check()
