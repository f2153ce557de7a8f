"""The progress bar of a run."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow

_SHOWN = 4  # statistics: all of it fits into 80 columns


class ProgressBar(Callback):
    """Shows progress, steps a second and the objective's first statistics; a context manager.

    Args:
        console: where to show them.
        steps: how many steps there will be.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=6),
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
        """Move the bar and show the row."""
        values = " ".join(f"{name} {value:.3g}" for name, value in list(row.values.items())[:_SHOWN])
        text = f"{row.steps_per_second:,.0f} steps/s {values}"
        self._progress.start()  # not before: a run that is refused shows no bar
        self._progress.update(self._task, completed=row.step, description=text)
