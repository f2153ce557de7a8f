"""A run that is told to end saves itself and says so in a line, whoever tells it, and however early."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("heeded_signals")

ENDLESS = ("train", "ring", "--steps", "1000000", "--batch-size", "16", "--log-interval", "5")
COMMAND = (sys.executable, "-m", "fastgan")


@contextlib.contextmanager
def started(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, gone with the test."""
    process = subprocess.Popen(
        [str(word) for word in command],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **options},
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "it takes too long"
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def rows(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def assert_saved(out: Path) -> None:
    """A summary and a checkpoint of the step at which it stopped."""
    step = json.loads((out / "checkpoint.json").read_text())["checkpoints"][-1]["step"]
    assert json.loads((out / "summary.json").read_text())["steps"] == step > 0


def test_a_signal_saves_and_exits_and_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """nohup fastgan train, its terminal is closed, and then comes SIGINT.

    Tests below send SIGTERM to a run and its workers, and have a closed terminal send SIGHUP.
    """
    out = tmp_path / "run"
    with started(*COMMAND, *ENDLESS, "--out", out, preexec_fn=ignore_hangup) as process:
        until(lambda: rows(out) > 0, process)
        process.send_signal(signal.SIGHUP)
        before = rows(out)
        until(lambda: rows(out) > before + 2, process)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "fastgan: interrupted\n"
    assert "stopped at step" in printed
    assert f"continue    fastgan train --resume {out}" in printed
    assert_saved(out)


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


# a worker that is started anew, as everywhere but on Linux, inherits no handler
SPAWNED = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from fastgan.cli import main
    main()
"""


def test_workers_leave_signals_to_the_run(tmp_path: Path) -> None:
    """torchrun, timeout and a terminal send them to the whole group of processes."""
    out, script = tmp_path / "run", tmp_path / "script.py"
    script.write_text(SPAWNED)
    np.save(tmp_path / "a.npy", np.zeros((64, 8, 8), np.uint8))
    train = ("train", tmp_path / "a.npy", "--stream", "--workers", 1, *ENDLESS[2:], "--out", out)
    with started(sys.executable, script, *train) as process:
        until(lambda: rows(out) > 0, process)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "fastgan: interrupted\n")
    assert_saved(out)


# pictures that take a minute: the second Ctrl-C comes while the first is heeded
SLOW_PICTURES = """
import sys, time
from fastgan.__main__ import main
from fastgan.training.recorder import Recorder

def on_sample(self, state):
    print("drawing", flush=True)
    time.sleep(60)

Recorder.on_sample = on_sample
main()
"""


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(sys.executable, "-c", SLOW_PICTURES, *ENDLESS, "--out", out) as process:
        until(lambda: rows(out) > 0, process)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while process.stdout.readline() != "drawing\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "fastgan: interrupted\n")
    assert (out / "checkpoint.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped stands in /proc")
@pytest.mark.parametrize(("started_as", "library"), [("module", "matplotlib"), ("script", "libtorch_cpu")])
def test_an_interrupt_while_it_imports_is_one_line(tmp_path: Path, started_as: str, library: str) -> None:
    script = tmp_path / "fastgan"  # as pip writes it
    script.write_text("import sys\nfrom fastgan.__main__ import main\nsys.exit(main())\n")
    command = COMMAND if started_as == "module" else (sys.executable, script)
    with started(*command, *ENDLESS, "--out", tmp_path / "run") as process:
        maps = Path(f"/proc/{process.pid}/maps")
        until(lambda: library in maps.read_text(), process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "fastgan: interrupted\n")


def test_importing_fastgan_leaves_interrupts_to_the_program(tmp_path: Path) -> None:
    script = tmp_path / "gan.py"
    script.write_text("import signal, fastgan\nprint(signal.getsignal(signal.SIGINT).__name__)\n")
    printed = subprocess.check_output([sys.executable, script, "train"], text=True)
    assert printed == "default_int_handler\n"


def test_a_closed_terminal_ends_a_run_well(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ours, its = pty.openpty()
    options = {"stdin": its, "stdout": its, "stderr": its, "start_new_session": False}
    with started(*COMMAND, *ENDLESS, "--out", out, **options, preexec_fn=take_terminal) as process:
        os.close(its)
        shown = b""
        while b"loss_D" not in shown:  # somebody must read, or the terminal is full
            shown += os.read(ours, 4096)
        os.close(ours)
        process.wait(timeout=60)
    assert process.returncode == 130
    assert_saved(out)


def take_terminal() -> None:
    """Make standard input the terminal that controls this process, which leads a session."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_run_outlives_who_reads_its_lines(tmp_path: Path) -> None:
    """fastgan train | head -1"""
    out = tmp_path / "run"
    train = ("train", "ring", "--steps", "60", "--batch-size", "16", "--log-interval", "5", "--out", out)
    with started(*COMMAND, *train) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ring: ")
        assert process.stdout.readline().startswith("step 5 of 60 ")
        process.stdout.close()
        process.wait(timeout=60)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert json.loads((out / "summary.json").read_text())["steps"] == 60
