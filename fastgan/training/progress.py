"""The progress bar of a run."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow

_LINES = (
    ("loss_D", "loss_G", "gradient"),
    # what each objective says of D's outputs
    ("D(x)", "D(G(z))", "logit(x)", "logit(G(z))", "D(x, G(z))", "D~(x)", "D~(G(z))", "saturated", "k", "M"),
    ("diversity", "modes_covered", "modes", "high_quality"),
)


class ProgressBar(Callback):
    """Shows progress, steps a second, losses, diagnostics and alarms; a context manager.

    Args:
        console: where to show them.
        steps: how many steps there will be.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=6),  # all of it fits into 80 columns, in three lines
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=steps)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Move the bar, show the row, and print the alarms that begin or end above it."""
        lines = (
            " ".join(f"{name} {row.values[name]:.3g}" for name in names if name in row.values)
            for names in _LINES
        )
        text = f"{row.steps_per_second:,.0f} steps/s " + "\n".join(lines)
        self._progress.start()  # not before: a run that is refused shows no bar
        self._progress.update(self._task, completed=row.step, description=text)
        for alarm in row.alarms:
            if row.step in (alarm.raised, alarm.ended):
                console = self._progress.console
                whole = not console.is_terminal  # a line of a file stays one
                console.print(f"step {row.step:,}: {alarm}", highlight=False, soft_wrap=whole)
