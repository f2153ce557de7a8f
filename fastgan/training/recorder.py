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
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fastgan.data import Dataset
from fastgan.data.dataset import is_points
from fastgan.files import naming, remove_leftovers, write_text
from fastgan.plots import View, save_dashboard, save_samples
from fastgan.training import checkpoint
from fastgan.training.alarms import Alarm
from fastgan.training.diagnostics import coverage_of
from fastgan.training.fid import FID, Best
from fastgan.training.labels import in_order, picture_count
from fastgan.training.memory import MEMORY, Peak, read_peak, write_peak
from fastgan.training.real_features import REAL_FEATURES
from fastgan.training.run import RunError
from fastgan.training.sampling import sample
from fastgan.training.state import TrainingState
from fastgan.training.trainer import Callback, LogRow

DASHBOARD = "dashboard.png"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
_PICTURE_SEED = 0  # the same in every picture, so that pictures can be compared
_PICTURE_POINTS = 2_500
_DASHBOARD_SECONDS = 30.0  # between two dashboards: each takes the time of hundreds of small steps
_EVALUATED_POINTS = 10_000
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
        data: data of the run.
        step: step at which a resumed run continues; later rows of the log are dropped.

    Attributes:
        rows: rows of metrics.jsonl.
        saved_step: step of the last checkpoint.
    """

    def __init__(self, folder: Path, data: Dataset, step: int = 0) -> None:
        self.folder = folder
        self.data = data
        self.saved_step = step  # a run begins with a checkpoint
        self._step = step
        self._drawn = time.perf_counter()
        self._view = View.of(data.transform.inverse(data.samples)) if is_points(data.shape) else None
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
            self._save_dashboard(self._sample(state, _PICTURE_POINTS))

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
        samples = self._sample(state, _PICTURE_POINTS)
        path = self.folder / f"samples-{state.step:08d}.png"
        points = self.data.transform.inverse(samples)
        save_samples(path, points, f"{self.data.title}, step {state.step:,}", self._view)
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
            its step and, for a mixture of Gaussians, modes, covered modes, and share and counts per mode of
            high-quality samples.
        """
        samples = self._sample(state, _EVALUATED_POINTS)
        last: dict[str, Any] = {}
        if self.rows:  # none if the log of a finished run was removed
            last = self.rows[-1]
            self._save_dashboard(samples)
        summary: dict[str, Any] = {
            "steps": state.step,
            "seconds": self._seconds(),
            **{name: value for name, value in last.items() if name not in _NOT_IN_SUMMARY},
            "alarms": [asdict(alarm) for alarm in alarms],
        }
        if best is not None:
            summary["best"] = {"step": best.step, FID: best.fid}
        coverage = coverage_of(samples, self.data)
        if coverage is not None:
            summary["modes"] = coverage.modes
            summary["modes_covered"] = coverage.covered
            summary["high_quality"] = coverage.high_quality
            # a single sample covers a mode; counts show which modes are hardly covered
            summary["high_quality_counts"] = coverage.counts
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

    def _save_dashboard(self, samples: Tensor) -> None:
        alarms = [row["alarms"] for row in self.rows]
        save_dashboard(self.folder / DASHBOARD, _columns(self.rows), self.data, samples, alarms)
        self._drawn = time.perf_counter()

    def _sample(self, state: TrainingState, points: int) -> Tensor:
        """``points`` points, or as many images as a picture shows; with labels, ordered by class."""
        config, labels = state.config, None
        classes = range(self.data.num_classes if config.labels else 0)
        count = points if is_points(self.data.shape) else picture_count(classes)
        if classes:
            labels = in_order(classes, count)
        return sample(state.average, count, config.latent_dim, _PICTURE_SEED, config.latent, labels)


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
