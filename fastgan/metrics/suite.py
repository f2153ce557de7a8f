"""Every metric that applies to a data set, by name."""

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


def compare(data: Dataset, fake: Tensor, seed: int, classifiers: Path | None = None) -> dict[str, float]:
    """Compare samples with the data set: as many distinct ones of it, or all.

    Args:
        data: what a generator was trained on.
        fake: ``[N, ...]``, of the data's shape and units, N at least 2.
        seed: of the choice of real samples.
        classifiers: folder that keeps classifiers, as for
            :func:`fastgan.metrics.classifier.classifier_of`.

    Returns:
        By name. For points: of each axis that varies, how far the mean is off and the ratio of the
        deviations, and the Wasserstein distance; precision, recall, density and coverage of the points; for
        a mixture also modes covered, of how many, the share of high quality, and reverse KL and JSD of the
        histogram. For images with classes: the classifier's accuracy, modes covered and the divergences by
        the class that it sees, and Fréchet distance, precision, recall, density and coverage of its
        features. For other images nothing. Precision and the like need six samples or more.

    Raises:
        ValueError: if the samples have another shape than the data's, are fewer than two, or not finite.
    """
    if fake.shape[1:] != data.shape or len(fake) < 2:
        expected = ", ".join(map(str, ("N", *data.shape)))
        raise ValueError(
            f"fake has shape {list(fake.shape)}, expected [{expected}] as in {data.name}, with N at least 2"
        )
    rows = torch.randperm(len(data.samples), generator=torch.Generator().manual_seed(seed))
    real = data.seen(rows[: len(fake)])
    if data.labelled is not None:
        return _by_class(data.labelled, real, fake, classifiers)
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


def _by_class(single: Labelled, real: Tensor, fake: Tensor, classifiers: Path | None) -> dict[str, float]:
    # safetensors is wanted only here
    from fastgan.metrics.classifier import classifier_of, mode_shares

    classifier = classifier_of(single, classifiers)
    stacked = fake.shape[1] // single.images.shape[1]
    shares = mode_shares(single.labels, classifier.classes, stacked)
    counts = torch.bincount(classifier.modes(fake), minlength=len(shares))
    features = classifier.features(real), classifier.features(fake)
    return {
        "classifier accuracy": float(classifier.accuracy),
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
