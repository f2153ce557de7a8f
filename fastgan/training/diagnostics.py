"""Compares generated samples with the data, at log points only.

This does not affect training: latent vectors and real samples are drawn with a random generator of its own,
and the random state is restored after the network has drawn from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.data import Dataset
from fastgan.metrics import ModeCoverage, mode_coverage, relative_diversity
from fastgan.training.source import Source
from fastgan.training.state import TrainingState

_BATCHES = 2  # to count modes: with 512 samples, a mode with 1 % of them is missed once in 170 times
_SEED = 0  # the same latent vectors each time, so that rows can be compared


class Diagnostics:
    """Compares samples with data.

    Args:
        state: the state of training.
        source: real samples.
        data: the source's data set, if it is one, for its modes.
    """

    def __init__(self, state: TrainingState, source: Source, data: Dataset | None = None) -> None:
        self._state, self._source, self._data = state, source, data

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Generate samples and wait for the device.

        Returns:
            Values by name. ``diversity``: mean distance between two generated samples, divided by that
            between two real ones; absent if all of these are equal. It is measured with the current
            generator: the averaged one would hide a generator that makes one sample now and another later.
            For a mixture of Gaussians also ``modes_covered``, ``modes`` and ``high_quality`` of the averaged
            generator's samples (:class:`fastgan.metrics.ModeCoverage`); absent if a sample is not finite.
        """
        state, batch = self._state, self._state.config.batch_size
        rng = torch.Generator(state.device).manual_seed(_SEED)
        # batch by batch: takes no more memory than a step, and kernels need no tuning for another size
        latents = [state.latent(batch, rng) for _ in range(_BATCHES)]
        real = self._source.look(_BATCHES * batch, rng)
        labels = self._labels(batch)
        fake = state.look(latents[0], labels, live=True)
        diversity = relative_diversity(fake, real)
        values = {} if diversity is None else {"diversity": diversity}
        return values | self._coverage(latents, labels)

    def _labels(self, count: int) -> Tensor | None:
        """So many labels of the samples looked at, over and over if these are fewer."""
        labels = self._source.labels
        return None if labels is None else labels.repeat(-(-count // len(labels)))[:count]

    def _coverage(self, latents: list[Tensor], labels: Tensor | None) -> dict[str, float]:
        if self._data is None or self._data.modes is None:
            return {}
        samples = [self._state.look(latent, labels) for latent in latents]
        coverage = coverage_of(torch.cat(samples), self._data)
        if coverage is None:
            return {}
        return {
            "modes_covered": coverage.covered,
            "modes": coverage.modes,
            "high_quality": coverage.high_quality,
        }


def coverage_of(samples: Tensor, data: Dataset) -> ModeCoverage | None:
    """Mode coverage of samples of a mixture; None for other data, or if a sample is not finite."""
    points = data.transform.inverse(samples)
    if data.modes is None or not torch.isfinite(points).all():
        return None
    return mode_coverage(points, data.modes)
