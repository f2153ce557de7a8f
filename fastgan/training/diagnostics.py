"""How generated samples compare with the data, measured at log points only.

It leaves no trace in training: the latent vectors and the choice of real samples come from a generator
made for the purpose, and what the network itself draws is undone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.data import Dataset
from fastgan.metrics import ModeCoverage, mode_coverage, relative_diversity
from fastgan.training.source import Source
from fastgan.training.state import TrainingState

_BATCHES = 2  # to find modes in: of 256 samples each they miss one of 1 % once in 170 times
_SEED = 0  # the same latent vectors each time, so that rows can be compared


class Diagnostics:
    """Compares samples with data.

    Args:
        state: what is trained.
        source: real samples.
        data: what the source has, where that is a data set, for its modes.
    """

    def __init__(self, state: TrainingState, source: Source, data: Dataset | None = None) -> None:
        self._state, self._source, self._data = state, source, data

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Generate samples and wait for the device.

        Returns:
            By name: ``diversity``, the mean distance between two samples of the generator as it is over
            that between two of the data, where there are two that differ; its average would hide a
            generator that gives one sample now and another later. And, for a mixture of Gaussians,
            ``modes_covered``, ``modes`` and ``high_quality`` of samples of the average, as in
            :class:`fastgan.metrics.ModeCoverage`, where they are finite.
        """
        state, batch = self._state, self._state.config.batch_size
        rng = torch.Generator(state.device).manual_seed(_SEED)
        # batch by batch: no more memory than a step takes, and no new size for a kernel to be tuned for
        latents = [state.latent(batch, rng) for _ in range(_BATCHES)]
        fake, real = state.look(latents[0], live=True), self._source.look(_BATCHES * batch, rng)
        diversity = relative_diversity(fake, real)
        values = {} if diversity is None else {"diversity": diversity}
        return values | self._coverage(latents)

    def _coverage(self, latents: list[Tensor]) -> dict[str, float]:
        if self._data is None or self._data.modes is None:
            return {}
        coverage = coverage_of(torch.cat([self._state.look(latent) for latent in latents]), self._data)
        if coverage is None:
            return {}
        return {
            "modes_covered": coverage.covered,
            "modes": coverage.modes,
            "high_quality": coverage.high_quality,
        }


def coverage_of(samples: Tensor, data: Dataset) -> ModeCoverage | None:
    """What samples cover of a mixture; None of other data.

    None too where one is not finite: of a generator that makes such, the losses tell, and end the training.
    """
    points = data.transform.inverse(samples)
    if data.modes is None or not torch.isfinite(points).all():
        return None
    return mode_coverage(points, data.modes)
