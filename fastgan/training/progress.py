"""Progress of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fastgan.training.fid import FID
from fastgan.training.objectives.logits import SIGN
from fastgan.training.state import PROBABILITY, TrainingState
from fastgan.training.trainer import Callback, LogRow

_VALUES = (
    ("loss_D", "loss_G", "gradient"),
    # statistics of D's outputs, by objective
    ("D(x)", "D(G(z))", "logit(x)", "logit(G(z))", "D(x, G(z))", "D~(x)", "D~(G(z))", "saturated", "k", "M"),
    (SIGN, PROBABILITY),
    ("diversity", "modes_covered", "modes", "high_quality", FID),
)
_BAR_SECONDS = 0.1  # between two updates of the bar
_LINE_SECONDS = 10.0  # between two lines
_SLOW_SECONDS = 60.0  # after which a line without values is printed


class Shown(Callback):
    """A context manager that shows the progress of a run of ``steps`` steps on a console."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Show the remaining output."""
        raise NotImplementedError

    def _show_alarms(self, row: LogRow) -> None:
        """Print the alarms that begin or end with this row."""
        for alarm in row.alarms:
            if row.step in (alarm.raised, alarm.ended):
                whole = not self._console.is_terminal  # no line breaks in a file
                self._console.print(f"step {row.step:,}: {alarm}", highlight=False, soft_wrap=whole)


class _Bar(Progress):
    """A bar with values below it."""

    values = ""

    def get_renderables(self) -> list[RenderableType]:
        return [self.make_tasks_table(self.tasks), *map(Text, self.values.splitlines())]


class ProgressBar(Shown):
    """A progress bar with the values of the last row below it; alarms are printed above it."""

    def __init__(self, console: Console, steps: int) -> None:
        super().__init__(console, steps)
        self._bar = _Bar(
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
        )
        self._drawn = 0.0
        self._fid: dict[str, float] = {}

    def on_progress(self, state: TrainingState) -> None:
        """Move the bar. The first call shows it, so that a run that is refused shows none."""
        now = time.perf_counter()
        if not self._bar.tasks:
            self._bar.add_task("", total=self._steps, completed=state.step)
            self._bar.start()
        elif now - self._drawn < _BAR_SECONDS and state.step < self._steps:
            return
        self._drawn = now
        (task,) = self._bar.tasks
        speed = "" if task.speed is None else f"{_short(task.speed)} steps/s"
        self._bar.update(task.id, completed=state.step, description=speed)

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Show the row's values, with the last FID, and its alarms."""
        self._fid = {FID: row.values[FID]} if FID in row.values else self._fid
        self._bar.values = "\n".join(_values_of({**row.values, **self._fid}))
        self._show_alarms(row)

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar.live.is_started:
            self._bar.stop()


class ProgressLines(Shown):
    """Lines with the log's latest row, every ten seconds or with a new FID; else a line after a minute.

    Args:
        console: where to print.
        steps: number of steps of the run.
        every_row: print a line for every row instead.
    """

    def __init__(self, console: Console, steps: int, *, every_row: bool = False) -> None:
        super().__init__(console, steps)
        self._every_row = every_row
        self._said = 0, 0.0  # step and time of the last line
        self._said_row = 0.0  # time of the last line with values
        self._held: LogRow | None = None
        self._begun = False

    def on_progress(self, state: TrainingState) -> None:
        """Print a line if there has been none for a long time."""
        now = time.perf_counter()
        if not self._begun:
            self._begun, self._said, self._said_row = True, (state.step, now), now
        elif now - self._said[1] >= _SLOW_SECONDS and state.step > self._said[0]:
            self._say(state.step, "")

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Print the row if a line is due, and its alarms."""
        self._held = row
        must = self._every_row or row.step == self._steps or FID in row.values
        if must or time.perf_counter() - self._said_row >= _LINE_SECONDS:
            self._say_held()
        self._show_alarms(row)

    def end(self) -> None:
        """Print the last row, unless it has been printed."""
        self._say_held()

    def _say_held(self) -> None:
        if self._held is not None:
            self._say(self._held.step, ": " + " ".join(_values_of(self._held.values)))
            self._held, self._said_row = None, time.perf_counter()

    def _say(self, step: int, values: str) -> None:
        now = time.perf_counter()
        before, then = self._said
        rate = (step - before) / max(now - then, 1e-6)
        left = f", {_duration((self._steps - step) / rate)} left" if before < step < self._steps else ""
        share = f"{step / self._steps:.0%}"
        self._console.print(
            f"step {step:,} of {self._steps:,} ({share}), {_short(rate)} steps/s{left}{values}",
            highlight=False,
            soft_wrap=True,
        )
        self._said = step, now


def can_animate(console: Console) -> bool:
    """Whether the console is a terminal that can overwrite lines."""
    # FORCE_COLOR makes a pipe a terminal to rich
    return console.is_interactive and console.file.isatty()


def shown_on(console: Console, steps: int, *, every_row: bool) -> Shown:
    """A bar if the console can animate one, else lines; the arguments are those of ProgressLines."""
    if can_animate(console):
        return ProgressBar(console, steps)
    return ProgressLines(console, steps, every_row=every_row)


def _values_of(row: dict[str, float]) -> list[str]:
    lines = (" ".join(f"{name} {row[name]:.3g}" for name in names if name in row) for names in _VALUES)
    return [line for line in lines if line]


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
