"""Writes the files of a run: logs, pictures, checkpoints and a summary."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from fastgan.files import naming, remove_leftovers, write_text
from fastgan.training import checkpoint
from fastgan.training.alarms import Alarm
from fastgan.training.config_file import RunError
from fastgan.training.fid import FID, Best
from fastgan.training.memory import MEMORY, Peak, read_peak, write_peak
from fastgan.training.pictures import Pictures
from fastgan.training.real_features import REAL_FEATURES
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow

DASHBOARD = "dashboard.png"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
_DASHBOARD_SECONDS = 30.0  # between two dashboards: each takes the time of hundreds of small steps
_NOT_IN_SUMMARY = ("step", "seconds", "steps_per_second", "alarms")  # columns of a row that a summary omits
# files in the folder that only the run writes
_OWN = (
    *("checkpoint*", "classifier-*", "config.yaml", DASHBOARD, MEMORY, METRICS, REAL_FEATURES, SUMMARY),
    "samples-????????.png",
)


class Recorder(Callback):
    """Records a run into its folder; a context manager that closes the logs.

    Args:
        folder: folder of the run, which exists and is locked.
        pictures: draws samples of the run.
        step: step at which a resumed run continues; later rows of the log are dropped.

    Attributes:
        rows: rows of metrics.jsonl.
        saved_step: step of the last checkpoint.
    """

    def __init__(self, folder: Path, pictures: Pictures, step: int = 0) -> None:
        self.folder = folder
        self._pictures = pictures
        self.saved_step = step  # a run begins with a checkpoint
        self._step = step
        self._drawn = time.perf_counter()
        for name in _OWN:
            remove_leftovers(folder, name)
        self._peak = read_peak(folder)
        self.rows = _rows_until(folder / METRICS, step)
        before = self.rows[-1].get("seconds", 0.0) if self.rows else 0.0  # seconds before the resumption
        self._begun = time.perf_counter() - before

    def __enter__(self) -> Recorder:
        with naming(self.folder):
            self._events = SummaryWriter(str(self.folder), purge_step=self._step + 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with naming(self.folder):
            self._events.close()

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        """Append the row to metrics.jsonl and TensorBoard's events; redraw the dashboard if it is due.

        A row of the same step as the last one adds its values to it.
        """
        if self.rows and self.rows[-1]["step"] == row.step:
            self._complete(row)
        else:
            self._append(row)
        if time.perf_counter() - self._drawn >= _DASHBOARD_SECONDS:
            self._pictures.save_dashboard(self.folder / DASHBOARD, state, *self._history())
            self._drawn = time.perf_counter()

    def lacks(self, name: str, step: int) -> bool:
        """Whether the last row is of the given step and has no such value."""
        return any(row["step"] == step and name not in row for row in self.rows[-1:])

    def _complete(self, row: LogRow) -> None:
        self.rows[-1] |= row.values
        _write_rows(self.folder / METRICS, self.rows)
        with naming(self.folder):
            self._add_scalars(row)

    def _append(self, row: LogRow) -> None:
        lasting = {alarm.name: alarm.message for alarm in row.alarms if alarm.ended is None}
        record = {
            "step": row.step,
            "seconds": self._seconds(),
            "steps_per_second": round(row.steps_per_second, 1),
            **row.values,
            "alarms": lasting,
        }
        metrics = self.folder / METRICS
        with naming(metrics), metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self.rows.append(record)
        with naming(self.folder):
            self._add_scalars(row)
            self._events.add_scalar("alarms", len(lasting), row.step)
            for alarm in row.alarms:
                if row.step in (alarm.raised, alarm.ended):
                    self._events.add_text("alarms", str(alarm), row.step)

    def _add_scalars(self, row: LogRow) -> None:
        for name, value in row.values.items():
            self._events.add_scalar(name, value, row.step)

    def on_sample(self, state: TrainingState) -> None:
        """Write samples-STEP.png."""
        path = self.folder / f"samples-{state.step:08d}.png"
        self._pictures.save_samples(path, state)
        with Image.open(path) as image:
            picture = np.asarray(image.convert("RGB"))
        with naming(self.folder):
            self._events.add_image("samples", picture, state.step, dataformats="HWC")

    def on_best(self, state: TrainingState, best: Best) -> None:
        """Replace the best checkpoint, which is the latest one too."""
        checkpoint.save(self.folder, state, best)
        self.saved_step = state.step

    def on_checkpoint(self, state: TrainingState) -> None:
        """Replace the checkpoint, unless it is written already, and record the peak memory."""
        if self.saved_step != state.step:
            checkpoint.save(self.folder, state)
            self.saved_step = state.step
        self._record_peak(state)

    def finish(self, state: TrainingState, alarms: Sequence[Alarm], best: Best | None) -> dict[str, Any]:
        """Write dashboard.png, summary.json and the peak memory.

        Args:
            state: the final state.
            alarms: all alarms of the run.
            best: the lowest FID; None without a measurement.

        Returns:
            The summary: steps, training time in seconds, the last statistics, all alarms, the lowest FID and
            its step, and what the pictures' samples show.
        """
        last: dict[str, Any] = self.rows[-1] if self.rows else {}  # none if a finished run's log was removed
        dashboard = self.folder / DASHBOARD if self.rows else None
        shown = self._pictures.finish(dashboard, state, *self._history())
        summary: dict[str, Any] = {
            "steps": state.step,
            "seconds": self._seconds(),
            **{name: value for name, value in last.items() if name not in _NOT_IN_SUMMARY},
            "alarms": [asdict(alarm) for alarm in alarms],
        }
        if best is not None:
            summary["best"] = {"step": best.step, FID: best.fid}
        summary |= shown
        write_text(self.folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
        self._record_peak(state)
        return summary

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._begun, 1)

    def _record_peak(self, state: TrainingState) -> None:
        peak = Peak.so_far(state.device)
        if self._peak is not None:
            peak = peak.or_higher(self._peak)  # of the process before the resumption
        if peak != self._peak:
            write_peak(self.folder, peak)
            self._peak = peak

    def _history(self) -> tuple[dict[str, list[float]], list[dict[str, str]]]:
        """The log's columns and alarms."""
        return _columns(self.rows) if self.rows else {}, [row["alarms"] for row in self.rows]


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """The columns that all rows have, by name, and FID, which is nan where it was not measured."""
    names = set(rows[-1]).intersection(*rows) - {"alarms", FID}
    columns = {name: [row[name] for row in rows] for name in names}
    if any(FID in row for row in rows):
        columns[FID] = [row.get(FID, math.nan) for row in rows]
    return columns


def _rows_until(metrics: Path, step: int) -> list[dict[str, Any]]:
    """Cut a log off after a step, and return its rows.

    Raises:
        RunError: if a line is damaged; the file is not changed.
    """
    if not metrics.exists():
        return []
    lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if step else []
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break  # an incomplete line of a process that was killed
        try:
            row = json.loads(line)
            if row["step"] <= step:
                rows.append(row)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{metrics}: line {number} is damaged; repair or remove it") from error
    _write_rows(metrics, rows)
    return rows


def _write_rows(metrics: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(metrics, "".join(json.dumps(row) + "\n" for row in rows))
