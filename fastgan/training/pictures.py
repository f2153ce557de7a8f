"""Pictures and figures of a run's samples, which its recorder stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from fastgan.data import Dataset
from fastgan.data.dataset import is_points
from fastgan.plots import View, save_dashboard, save_samples
from fastgan.plots.dashboard import Alarms, History
from fastgan.training.diagnostics import coverage_of
from fastgan.training.labels import in_order, picture_count
from fastgan.training.sampling import sample
from fastgan.training.state import TrainingState

_SEED = 0  # the same in every picture, so that pictures can be compared
_POINTS = 2_500
_EVALUATED_POINTS = 10_000


class Pictures(Protocol):
    """What a recorder shows of the samples of a run."""

    def save_samples(self, path: Path, state: TrainingState) -> None:
        """Write a picture of samples."""

    def save_dashboard(self, path: Path, state: TrainingState, history: History, alarms: Alarms) -> None:
        """Write the picture of the run so far."""

    def finish(
        self, path: Path | None, state: TrainingState, history: History, alarms: Alarms
    ) -> dict[str, Any]:
        """Write the picture of the whole run, unless ``path`` is None; return figures of samples by name."""


class SamplePictures:
    """Pictures of points or images.

    Args:
        data: data of the run.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._view = View.of(data.transform.inverse(data.samples)) if is_points(data.shape) else None

    def save_samples(self, path: Path, state: TrainingState) -> None:
        points = self._data.transform.inverse(self._sample(state, _POINTS))
        save_samples(path, points, f"{self._data.title}, step {state.step:,}", self._view)

    def save_dashboard(self, path: Path, state: TrainingState, history: History, alarms: Alarms) -> None:
        save_dashboard(path, history, self._data, self._sample(state, _POINTS), alarms)

    def finish(
        self, path: Path | None, state: TrainingState, history: History, alarms: Alarms
    ) -> dict[str, Any]:
        """For a mixture of Gaussians: modes, covered modes, share and counts per mode of good samples."""
        samples = self._sample(state, _EVALUATED_POINTS)
        if path is not None:
            save_dashboard(path, history, self._data, samples, alarms)
        coverage = coverage_of(samples, self._data)
        if coverage is None:
            return {}
        return {
            "modes": coverage.modes,
            "modes_covered": coverage.covered,
            "high_quality": coverage.high_quality,
            # a single sample covers a mode; counts show which modes are hardly covered
            "high_quality_counts": coverage.counts,
        }

    def _sample(self, state: TrainingState, points: int) -> Tensor:
        """``points`` points, or as many images as a picture shows; with labels, ordered by class."""
        config, labels = state.config, None
        classes = range(self._data.num_classes if config.labels else 0)
        count = points if is_points(self._data.shape) else picture_count(classes)
        if classes:
            labels = in_order(classes, count)
        return sample(state.average, count, config.latent_dim, _SEED, config.latent, labels)
