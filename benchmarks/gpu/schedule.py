"""Runs stages, each in its own process with a deadline, and records their rows.

A single loop reads the processes' output, ends those that exceed their time and starts the next ones. A
signal only sets a flag, which the loop checks, so no row is lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import Record, Row

ROOT = Path(__file__).parents[2]
GRACE = 4.0  # seconds between interrupting and killing a process, to put its rows
RESTARTS = 4
_TICK = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Stage:
    """A command that puts rows.

    Attributes:
        need: seconds that must be left to start it.
        limit: seconds after which it is interrupted.
        after: stages that must have ended first, with any result.
        alone: no other stage may run at the same time, as this one measures times.
        done: cases to skip, as an earlier run has their rows.
    """

    name: str
    command: Sequence[str]
    need: float
    limit: float
    after: tuple[str, ...] = ()
    alone: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    done: tuple[str, ...] = ()


class Process:
    """A stage's process; after a restart, the latest one."""

    def __init__(self, stage: Stage, seconds: float) -> None:
        self.stage = stage
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.rows = 0
        self.state: dict[str, list[Any]] = {"lost": [], "done": list(stage.done)}
        self.restarts = 0
        self.start()

    def start(self) -> None:
        reading, writing = os.pipe()
        self.doing: Row | None = None
        self.deadline = self.end
        self.killed_at = 0.0  # after an interrupt: the time at which to kill it
        self.is_over_time = False
        self.tail: deque[str] = deque(maxlen=30)
        variables = {"FASTGAN_ROWS": str(writing), "FASTGAN_STATE": json.dumps(self.state)}
        self.process = subprocess.Popen(
            self.stage.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=os.environ | self.stage.environment | variables,
            pass_fds=(writing,),
            start_new_session=True,  # keeps Ctrl-C away from it; its children can be killed with it
            preexec_fn=_as_a_stage,
        )
        os.close(writing)
        assert self.process.stdout is not None
        self.pipes = {reading: b"", self.process.stdout.fileno(): b""}
        self.messages = reading
        for pipe in self.pipes:
            os.set_blocking(pipe, False)

    def lines(self, pipe: int) -> list[str]:
        """The complete lines that can be read without blocking."""
        while True:
            try:
                chunk = os.read(pipe, 1 << 16)
            except BlockingIOError:
                break
            self.pipes[pipe] += chunk
            if not chunk:
                break
        *whole, self.pipes[pipe] = self.pipes[pipe].split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def signal(self, number: int) -> None:
        """Signals the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def close(self) -> None:
        """Kills the process. Does not wait longer than a second, as the GPU's driver may block its end."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        os.close(self.messages)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _as_a_stage() -> None:
    """Makes the process end with its parent, and restores SIGINT: shells disable it for background jobs."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Schedule:
    """Runs stages for at most ``seconds`` from now, or until ``stop`` returns True."""

    def __init__(
        self,
        record: Record,
        stages: Sequence[Stage],
        seconds: float,
        stop: Callable[[], bool] = lambda: False,
        when_one_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.record, self.stop, self.when_one_ended = record, stop, when_one_ended
        self.pending = list(stages)
        self.end = time.monotonic() + seconds
        self.running: list[Process] = []
        self.results: dict[str, str] = {}
        self.selector = selectors.DefaultSelector()

    def run(self) -> dict[str, str]:
        """Returns the result of each stage."""
        while (self.pending or self.running) and not self.stop():
            self._start_what_can()
            self._listen(_TICK)
            for each in list(self.running):
                self._look_at(each)
        if self.running or self.pending:
            self._interrupt()
        return self.results

    def _start_what_can(self) -> None:
        for stage in list(self.pending):
            if any(each.stage.alone for each in self.running):
                return
            if stage.alone and self.running:
                return
            if not all(name in self.results for name in stage.after if self._is_known(name)):
                continue
            self.pending.remove(stage)
            left = self.end - time.monotonic()
            if left < stage.need:
                self._ended(stage, "skipped", error=f"it needs {stage.need:.0f} s, and {left:.0f} s are left")
                continue
            self._start(stage, min(stage.limit, left))
            if stage.alone:
                return

    def _is_known(self, name: str) -> bool:
        running = [each.stage.name for each in self.running]
        return name in self.results or name in running or name in [stage.name for stage in self.pending]

    def _start(self, stage: Stage, seconds: float) -> None:
        try:
            each = Process(stage, seconds)
        except OSError as error:
            self._ended(stage, "failed", error=f"could not start: {error}")
            return
        self._hear(each)
        self.running.append(each)

    def _hear(self, each: Process) -> None:
        for pipe in each.pipes:
            self.selector.register(pipe, selectors.EVENT_READ, each)

    def _listen(self, seconds: float) -> None:
        if not self.running:
            return
        for key, _ in self.selector.select(seconds):
            self._take(key.data, key.fd)
        if not any(each.process.poll() is None for each in self.running):
            return
        # a closed pipe is always ready: do not spin
        time.sleep(0.01)

    def _take(self, each: Process, pipe: int) -> None:
        lines = each.lines(pipe)
        if pipe != each.messages:
            each.tail.extend(lines)
            self.record.log(each.stage.name, lines)
            return
        for line in lines:
            self._heed(each, json.loads(line))

    def _heed(self, each: Process, message: dict[str, Any]) -> None:
        if "row" in message:
            each.rows += 1
            self.record.put(each.stage.name, message["row"])
        elif "doing" in message:
            each.doing = message["doing"]
            limit = message.get("seconds", float("inf"))
            each.deadline = min(each.end, time.monotonic() + limit)
        else:
            for kind, name in message.items():
                each.state[kind].append(name)
                each.doing, each.deadline = None, each.end

    def _look_at(self, each: Process) -> None:
        now = time.monotonic()
        is_stuck = each.killed_at and now > each.killed_at + GRACE
        if each.process.poll() is not None or is_stuck:
            self._finish(each)
        elif each.killed_at and now > each.killed_at:
            each.signal(signal.SIGKILL)
        elif not each.killed_at and now > each.deadline:
            each.is_over_time = True
            each.killed_at = now + GRACE
            each.signal(signal.SIGINT)

    def _finish(self, each: Process) -> None:
        for pipe in each.pipes:
            self._take(each, pipe)
            self.selector.unregister(pipe)
        each.close()
        code = each.process.returncode
        if each.doing is not None:
            status = "over its time" if each.is_over_time else "failed"
            error = f"ended with code {code}: " + " / ".join(each.tail)[-1500:]
            self.record.put(each.stage.name, each.doing | {"status": status, "error": error})
            each.rows += 1
            each.state["lost"].append([each.doing["case"], each.doing["contender"]])
        is_worth_it = each.end - time.monotonic() > each.stage.need / 2 and each.restarts < RESTARTS
        if code != 0 and len(each.state["lost"]) > each.restarts and is_worth_it:
            each.restarts += 1
            each.start()
            self._hear(each)
            return
        self.running.remove(each)
        self._ended(each.stage, *self._verdict(each, code), seconds=round(time.monotonic() - each.started, 1))

    def _verdict(self, each: Process, code: int) -> tuple[str, str]:
        if each.is_over_time:
            return "over its time", f"not finished after {time.monotonic() - each.started:.0f} s"
        if code != 0:
            return "failed", f"ended with code {code}: " + " / ".join(each.tail)[-1500:]
        if each.rows == 0 and not each.stage.done:
            return "failed", "it put no rows: a stage that ran nothing has not passed"
        rows = [row for row in self.record.of_this_run if row["stage"] == each.stage.name]
        if rows and all(row.get("status") == "left out" for row in rows):
            return "left out", "all its rows are left out"
        bad = [row for row in rows if is_bad(row)]
        return ("failed", f"{len(bad)} of its rows") if bad else ("ok", "")

    def _ended(self, stage: Stage, status: str, error: str = "", seconds: float = 0.0) -> None:
        self.results[stage.name] = status
        row = {"what": "stage", "case": stage.name, "status": status, "seconds": seconds}
        self.record.put(stage.name, row | ({"error": error} if error else {}))
        self.when_one_ended()

    def _interrupt(self) -> None:
        """Interrupts all processes, collects their last rows and kills those that do not end."""
        for each in self.running:
            each.signal(signal.SIGINT)
        end = time.monotonic() + 1.0
        while any(each.process.poll() is None for each in self.running) and time.monotonic() < end:
            self._listen(_TICK)
        for each in self.running:
            for pipe in each.pipes:
                self._take(each, pipe)
            each.close()
            self._ended(each.stage, "interrupted", seconds=round(time.monotonic() - each.started, 1))
        for stage in self.pending:
            self._ended(stage, "skipped", error="the check was interrupted before")


def is_bad(row: Row) -> bool:
    return row.get("status", "ok") not in ("ok", "left out")


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
