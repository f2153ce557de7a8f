"""Computes all metrics that apply to a data set."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fastgan.data import Dataset, Labelled
from fastgan.data.dataset import is_points
from fastgan.metrics.axes import axis_differences
from fastgan.metrics.frechet import frechet_distance
from fastgan.metrics.histogram import jensen_shannon, reverse_kl
from fastgan.metrics.modes import mode_coverage
from fastgan.metrics.neighbours import neighbourhood

_NEIGHBOUR = 5


def compare(
    data: Dataset, fake: Tensor, seed: int, classifiers: Path | None = None, labels: Tensor | None = None
) -> dict[str, float]:
    """Compare N generated samples with N distinct real ones, or all if there are fewer.

    Args:
        data: data set of the generator.
        fake: ``[N, ...]``, with the data's shape and units, N at least 2.
        seed: seed of the choice of real samples.
        classifiers: as ``folder`` of :func:`fastgan.metrics.classifier.classifier_of`.
        labels: int64 ``[N]``, the classes asked for, if the generator takes them.

    Returns:
        Values by name. For points: error of the mean, ratio of deviations and Wasserstein distance of each
        axis that varies; precision, recall, density and coverage; for a mixture also covered modes, number of
        modes, share of high quality, and reverse KL and JSD of the histogram. For images with classes: the
        classifier's accuracy; with ``labels``, the share of samples of the class asked for; covered modes and
        both divergences for its predicted classes; Fréchet distance, precision, recall, density and coverage
        of its features. For other images nothing. Precision, recall, density and coverage need at least six
        samples.

    Raises:
        ValueError: if the samples do not have the data's shape, are fewer than two, or are not finite.
    """
    if fake.shape[1:] != data.shape or len(fake) < 2:
        expected = ", ".join(map(str, ("N", *data.shape)))
        raise ValueError(
            f"fake has shape {list(fake.shape)}, expected [{expected}] as in {data.name}, with N at least 2"
        )
    rows = torch.randperm(len(data.samples), generator=torch.Generator().manual_seed(seed))
    real = data.seen(rows[: len(fake)])
    if data.labelled is not None:
        return _by_class(data.labelled, real, fake, classifiers, labels)
    return _by_place(data, real, fake) if is_points(data.shape) else {}


def _by_place(data: Dataset, real: Tensor, fake: Tensor) -> dict[str, float]:
    result: dict[str, float] = {}
    for axis, difference in enumerate(axis_differences(real, fake)):
        if difference is not None:
            result |= {
                f"axis {axis} mean error": difference.mean_error,
                f"axis {axis} deviation ratio": difference.deviation_ratio,
                f"axis {axis} Wasserstein": difference.wasserstein,
            }
    if data.modes is not None:
        coverage = mode_coverage(data.transform.inverse(fake), data.modes)
        counts = torch.tensor(coverage.counts)
        result |= {**_by_mode(counts, None), "high quality": coverage.high_quality}
    return result | _by_neighbours(real, fake)


def _by_class(
    single: Labelled, real: Tensor, fake: Tensor, classifiers: Path | None, labels: Tensor | None
) -> dict[str, float]:
    # imported here, as only the classifier needs safetensors
    from fastgan.metrics.classifier import classifier_of, mode_shares

    classifier = classifier_of(single, classifiers)
    stacked = fake.shape[1] // single.images.shape[1]
    shares = mode_shares(single.labels, classifier.classes, stacked)
    modes = classifier.modes(fake)
    counts = torch.bincount(modes, minlength=len(shares))
    asked = {} if labels is None else {"of the class asked for": float((modes == labels).float().mean())}
    features = classifier.features(real), classifier.features(fake)
    return {
        "classifier accuracy": float(classifier.accuracy),
        **asked,
        **_by_mode(counts, shares),
        "Fréchet distance": frechet_distance(*features),
        **_by_neighbours(*features),
    }


def _by_mode(counts: Tensor, shares: Tensor | None) -> dict[str, float]:
    return {
        "modes covered": float((counts > 0).sum()),
        "modes": float(len(counts)),
        "reverse KL": reverse_kl(counts, shares),
        "JSD": jensen_shannon(counts, shares),
    }


def _by_neighbours(real: Tensor, fake: Tensor) -> dict[str, float]:
    if min(len(real), len(fake)) <= _NEIGHBOUR:
        return {}
    return vars(neighbourhood(real, fake, _NEIGHBOUR))
