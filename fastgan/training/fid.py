"""The Fréchet distance of features while training (FID: Heusel et al., 2017; arXiv:1706.08500).

This does not affect training: latent vectors are drawn with a random generator of its own, and the random
state is restored after the networks have drawn from it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fastgan.data import DataError, Dataset, Labelled
from fastgan.metrics import frechet_distance
from fastgan.metrics.extractor import features_of
from fastgan.metrics.moments import Moments, RunningMoments
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.source import WholeSource
from fastgan.training.state import TrainingState

if TYPE_CHECKING:  # needs safetensors
    from fastgan.training.real_features import Kept

FID = "fid"
"""Name of the value in a row of the log."""
_REAL_AT_ONCE = 256
_SEED = 0  # the same latent vectors each time, so that values can be compared


@dataclass(frozen=True)
class Best:
    """The lowest Fréchet distance so far.

    Attributes:
        step: number of steps done then.
        fid: the distance.
        kind: identifies extractor, data and number of samples; distances of others cannot be compared.
    """

    step: int
    fid: float
    kind: str = ""


class Fid:
    """Measures the Fréchet distance of the averaged generator's samples from all real ones.

    Args:
        state: the state of training.
        source: real samples.
        extractor: from float32 samples to features ``[N, D]``; moved to the device.
        stopping: whether training is to stop; measurements are abandoned then.
        kept: where to keep the moments of the real features; None to compute them in each process.
    """

    def __init__(
        self,
        state: TrainingState,
        source: WholeSource,
        extractor: nn.Module,
        stopping: Callable[[], bool],
        kept: Kept | None,
    ) -> None:
        self._state, self._source, self._stopping, self._kept = state, source, stopping, kept
        self._extractor = extractor.to(state.device)
        self._real: Moments | None = None
        self._labels: Tensor | None = None

    @property
    def kind(self) -> str:
        """As in :class:`Best`."""
        return f"{self._kept.key if self._kept else ''} {self._state.config.metrics_samples}"

    def prepare(self) -> None:
        """Compute the moments of the real features, or read the kept ones.

        Raises:
            ExtractorError: if the extractor does not fit the data.
            DataError: if there is only one sample.
        """
        rng = torch.Generator(self._state.device).manual_seed(_SEED)
        features = self._features(self._source.look(2, rng))
        real = None if self._kept is None else self._kept.read()
        if real is None or real.mean.shape != features.shape[1:]:
            real = self._moments(self._source.everything(_REAL_AT_ONCE))
            if real is None:
                return
            if self._kept is not None:
                self._kept.write(real)
        self._labels = self._drawn_labels(rng)
        if self._stopping():
            return  # labels may be missing
        self._real = Moments(real.count, real.mean.to(features.device), real.covariance.to(features.device))
        self._warn_of_few(real)

    def measure(self) -> dict[str, float]:
        """Generate samples and measure their distance.

        Returns:
            The value by its name; nothing if training is to stop meanwhile, or a sample is not finite.

        Raises:
            ExtractorError: if a feature of a generated sample is not finite.
        """
        fake = self._moments(self._generated()) if self._real else None
        return {FID: frechet_distance(self._real, fake)} if self._real and fake else {}

    def _generated(self) -> Iterator[Tensor]:
        state = self._state
        # at once and on the CPU: so they depend neither on the batch size nor on the device
        latents = state.latent(state.config.metrics_samples, torch.Generator().manual_seed(_SEED))
        for rows in torch.arange(len(latents)).split(state.config.batch_size):
            labels = None if self._labels is None else self._labels[rows.to(state.device)]
            yield state.look(latents[rows].to(state.device), labels)

    def _drawn_labels(self, rng: torch.Generator) -> Tensor | None:
        """Labels of the generated samples: those of real ones drawn at random; None for a run without."""
        if not self._state.config.labels:
            return None
        found = []
        for labels in self._source.random_labels(self._state.config.metrics_samples, _REAL_AT_ONCE, rng):
            found.append(labels)
            if self._stopping():
                break
        return torch.cat(found)

    @torch.no_grad()
    def _moments(self, batches: Iterable[Tensor]) -> Moments | None:
        running = RunningMoments()
        for samples in batches:
            if self._stopping() or not torch.isfinite(samples).all():
                return None
            running.add(self._features(samples))
        if running.count < 2:
            raise DataError("FID needs at least two real samples, and there is one; add others")
        return running.moments()

    def _features(self, samples: Tensor) -> Tensor:
        device = self._state.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return features_of(self._extractor, samples.float())

    def _warn_of_few(self, real: Moments) -> None:
        count, features = min(real.count, self._state.config.metrics_samples), len(real.mean)
        if count <= features:
            warnings.warn(
                f"FID of {count:,} samples with {features:,} features: the covariance is singular, and the "
                "distance biased; take more samples than features",
                RuntimeWarning,
                stacklevel=2,
            )


def labelled_of(config: TrainConfig, data: object) -> Labelled:
    """The labelled images of a data set, for the classifier whose features are the default.

    Raises:
        ConfigError: if there are none.
    """
    if not isinstance(data, Dataset) or data.labelled is None:
        raise ConfigError(
            f"metrics_interval is {config.metrics_interval}, but these data have no classes to train a "
            "classifier for; give an extractor"
        )
    return data.labelled


def default_extractor(labelled: Labelled) -> nn.Module:
    """The features of a classifier trained on labelled images."""
    # imported here, as the classifier needs safetensors
    from fastgan.metrics.classifier import Features, train_classifier

    return Features(train_classifier(labelled))
