"""How far a run is: a bar on a terminal, lines elsewhere, and how often it logs, draws and saves."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from fastgan.data import load
from fastgan.training import Callback, ConfigError, TrainConfig, Trainer
from fastgan.training.progress import ProgressBar, ProgressLines, shown_on
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow
from tests.test_cli import run
from tests.test_resume import networks

pytestmark = pytest.mark.usefixtures("undrawn")

TRAIN = (sys.executable, "-m", "fastgan", "train", "ring", "--batch-size", "16", "--steps")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        self.now = 100.0
        monkeypatch.setattr(f"fastgan.training.{module}.time.perf_counter", lambda: self.now)


def at(step: int) -> Any:
    return SimpleNamespace(step=step)


def row(step: int) -> LogRow:
    return LogRow(step, 20.0, {"loss_D": 1.5, "D(x)": 0.25})


def lines(monkeypatch: pytest.MonkeyPatch, seconds_a_step: float, *, every_row: bool) -> list[str]:
    """What 1,000 steps print, with a row every hundred."""
    clock = Clock(monkeypatch, "progress")
    file = io.StringIO()
    with ProgressLines(Console(file=file), 1000, every_row=every_row) as shown:
        shown.on_progress(at(0))
        for step in range(1, 1001):
            clock.now += seconds_a_step
            shown.on_progress(at(step))
            if step % 100 == 0:
                shown.on_log(at(step), row(step))
    return file.getvalue().splitlines()


def test_lines_come_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 0.04, every_row=False) == [
        "step 300 of 1,000 (30%), 25 steps/s, 28 s left: loss_D 1.5 D(x) 0.25",
        "step 600 of 1,000 (60%), 25 steps/s, 16 s left: loss_D 1.5 D(x) 0.25",
        "step 900 of 1,000 (90%), 25 steps/s, 4 s left: loss_D 1.5 D(x) 0.25",
        "step 1,000 of 1,000 (100%), 25 steps/s: loss_D 1.5 D(x) 0.25",
    ]


def test_lines_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch, 0.04, every_row=True)
    assert [int(line.split()[1].replace(",", "")) for line in printed] == [*range(100, 1001, 100)]


def test_slow_steps_are_counted_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch, 7.0, every_row=False)
    assert printed[:2] == [
        "step 9 of 1,000 (1%), 0.14 steps/s, 1 h 56 min left",
        "step 18 of 1,000 (2%), 0.14 steps/s, 1 h 55 min left",
    ]
    with_values = [line for line in printed if line.endswith(": loss_D 1.5 D(x) 0.25")]
    assert len(with_values) == 10
    assert len(printed) == pytest.approx(7000 / 63, abs=10)


def test_the_last_row_of_a_run_that_was_stopped_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, "progress")
    file = io.StringIO()
    with ProgressLines(Console(file=file), 1000) as shown:
        shown.on_progress(at(0))
        shown.on_log(at(7), row(7))
        assert file.getvalue() == ""
    assert file.getvalue().startswith("step 7 of 1,000 (1%), ")


@pytest.mark.parametrize(
    ("seconds", "left"), [(9.6, "10 s"), (90, "2 min"), (3599, "1 h 0 min"), (90_000, "1 d 1 h")]
)
def test_time_left(monkeypatch: pytest.MonkeyPatch, seconds: float, left: str) -> None:
    clock = Clock(monkeypatch, "progress")
    file = io.StringIO()
    with ProgressLines(Console(file=file), 2, every_row=True) as shown:
        shown.on_progress(at(0))
        clock.now += seconds
        shown.on_log(at(1), row(1))
    assert f", {left} left: " in file.getvalue()


def test_the_bar_is_there_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """And moves with the steps, though no row has come."""
    clock = Clock(monkeypatch, "progress")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with ProgressBar(console, 12_000) as shown:
        assert file.getvalue() == ""  # a run that is refused shows none
        shown.on_progress(at(2_000))
        shown._bar.refresh()
        assert "2,000 of 12,000 steps" in file.getvalue()
        clock.now += 1
        shown.on_progress(at(2_050))
        shown._bar.refresh()
        assert "2,050 of 12,000 steps" in file.getvalue()
        shown.on_log(at(2_100), row(2_100))
        shown._bar.refresh()
        assert "loss_D 1.5" in file.getvalue()
        assert "D(x) 0.25" in file.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = pty.openpty()
    with os.fdopen(its, "w") as terminal:
        monkeypatch.setenv("TERM", "xterm")
        assert isinstance(shown_on(Console(file=terminal), 1, every_row=False), ProgressBar)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(shown_on(Console(file=terminal), 1, every_row=False), ProgressLines)
    os.close(ours)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(shown_on(Console(file=io.StringIO()), 1, every_row=False), ProgressLines)


def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    command = [
        *TRAIN,
        "3000",
        "--batch-size",
        "256",
        "--log-interval",
        "2000",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    shown = read_all(ours)
    assert process.wait(timeout=60) == 0
    before_a_row = shown[: shown.index("loss_D")]
    assert "0 of 3,000 steps" in before_a_row
    counts = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) of 3,000", before_a_row)]
    assert counts[-1] > counts[0] == 0
    assert "3,000 of 3,000 steps" in shown
    assert "steps/s" in shown
    assert "left" in shown
    assert "\x1b[?25h" in shown[shown.rindex("\x1b[?25l") :], "the cursor stays hidden"
    assert f"picture     {tmp_path}" in shown


def read_all(terminal: int) -> str:
    """All that is written to a terminal, without colours, until nobody has it open."""
    read = b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            read += os.read(terminal, 4096)
        except OSError:  # that was the last
            break
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;]*m", "", read.decode())


def test_lines_are_there_while_it_trains(tmp_path: Path) -> None:
    command = [*TRAIN, "1000000", "--log-interval", "20", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "FORCE_COLOR": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        decided, first, second = (process.stdout.readline() for _ in range(3))
        assert process.poll() is None
        process.kill()
    pattern = r"step %s of 1,000,000 \(0%%\), [\d.,]+ steps/s, .* left: loss_D .* D\(x\) .* diversity .*\n"
    assert decided == "ring: 50,000 points of 2 axes, model mlp\n"
    assert re.fullmatch(pattern % 20, first)
    assert re.fullmatch(pattern % 40, second)


def test_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    intervals = ("--log-interval", 7, "--sample-interval", 9, "--checkpoint-interval", 20)
    assert run(monkeypatch, "train", "--steps", 30, "--keep", 9, *intervals, "--out", out) == 0
    logged = [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]
    assert logged == [7, 14, 20, 21, 28, 30]  # a checkpoint comes with a row
    assert steps_of(out, "samples-*.png") == [9, 18, 27, 30]
    assert steps_of(out, "checkpoint-*.safetensors") == [0, 20, 30]


def steps_of(out: Path, pattern: str) -> list[int]:
    return sorted(int(path.stem.rpartition("-")[2]) for path in out.glob(pattern) if path.stem[-8:].isdigit())


def test_an_interval_longer_than_the_run_takes_no_memory() -> None:
    config = TrainConfig(steps=3, batch_size=4, latent_dim=3, log_interval=2**31 - 1)
    assert Trainer(*networks(dropout=True), config).fit(load("ring").samples[:10]).step == 3


class Saved(Callback):
    """Where checkpoints were taken and rows written; each step takes a second."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.steps: list[int] = []
        self.rows: list[int] = []

    def on_progress(self, state: TrainingState) -> None:
        self.clock.now += 1

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append(row.step)

    def on_checkpoint(self, state: TrainingState) -> None:
        self.steps.append(state.step)


@pytest.mark.parametrize(
    ("minutes", "steps"), [(None, [80, 160, 200]), (0.5, [30, 60, 80, 110, 140, 160, 190, 200])]
)
def test_checkpoints_by_the_clock(
    monkeypatch: pytest.MonkeyPatch, minutes: float | None, steps: list[int]
) -> None:
    saved = Saved(Clock(monkeypatch, "trainer"))
    config = TrainConfig(steps=200, batch_size=4, latent_dim=3, log_interval=10, checkpoint_interval=80)
    config = replace(config, checkpoint_minutes=minutes)
    Trainer(*networks(dropout=True), config, [saved]).fit(torch.randn(10, 2))
    assert saved.steps == steps
    assert saved.rows == [*range(10, 201, 10)]


def test_minutes_must_be_above_zero() -> None:
    with pytest.raises(ConfigError, match=r"checkpoint_minutes is 0.0, expected a number above 0"):
        TrainConfig(checkpoint_minutes=0.0)
