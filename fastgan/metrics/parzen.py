"""Parzen-window log-likelihood of real points under Gaussians around generated samples.

The metric of Goodfellow et al., 2014, section 5 (Breuleux et al., 2011), for comparison with published
values. It is unreliable in many dimensions: it ranks a model that stores cluster centers of the training set
above the data themselves (Theis et al., 2016; arXiv:1511.01844).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_samples
from fastgan.metrics.distances import squared_distances

SIGMAS = tuple(10 ** (exponent / 9 - 1) for exponent in range(10))
"""Bandwidths from 0.1 to 1, evenly spaced in their logarithm, for images in [0, 1]."""

_TOLERANCE = 1e-6  # nats: error due to a distance


@dataclass(frozen=True)
class ParzenWindow:
    """An estimate.

    Attributes:
        mean: mean log-likelihood of the test points, in nats.
        standard_error: its standard error over test points, without the variance of the generated samples.
        sigma: the bandwidth chosen by validation.
    """

    mean: float
    standard_error: float
    sigma: float


def parzen_window(
    fake: Tensor, validation: Tensor, test: Tensor, sigmas: Sequence[float] | Tensor = SIGMAS
) -> ParzenWindow:
    """Estimate the log-likelihood of test points with the best bandwidth for validation points.

    Args:
        fake: ``[M, D]`` generated samples, 10,000 in the paper.
        validation: ``[V, D]`` real points for the choice of the bandwidth.
        test: ``[N, D]`` other real points, at least two.
        sigmas: bandwidths, each above 0.

    Raises:
        ValueError: as :func:`parzen_log_likelihood`.
    """
    check_samples("fake", fake, 1)
    check_samples("validation", validation, 1, like=fake)
    check_samples("test", test, 2, like=fake)
    means = parzen_log_likelihood(fake, validation, sigmas).mean(dim=1)
    sigma = float(sigmas[int(means.argmax())])
    values = parzen_log_likelihood(fake, test, [sigma])[0]
    return ParzenWindow(float(values.mean()), float(values.std() / math.sqrt(len(values))), sigma)


@torch.no_grad()
def parzen_log_likelihood(fake: Tensor, points: Tensor, sigmas: Sequence[float] | Tensor) -> Tensor:
    """Logarithm of the mean of N(x; s, σ²) over samples s, for each σ and each point x.

    Args:
        fake: ``[M, D]`` generated samples.
        points: ``[N, D]``.
        sigmas: S bandwidths, each above 0.

    Returns:
        float64 ``[S, N]``, in nats. Distances are computed once for all bandwidths.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or a bandwidth is not above 0.
    """
    check_samples("fake", fake, 1)
    check_samples("points", points, 1, like=fake)
    sigmas = [float(sigma) for sigma in sigmas]
    if not sigmas or not all(0 < sigma < math.inf for sigma in sigmas):
        raise ValueError(f"sigmas are {sigmas}, expected at least one, each above 0 and finite")
    count, dimensions = fake.shape
    result = torch.empty(len(sigmas), len(points), dtype=torch.float64, device=points.device)
    for rows, distances in squared_distances(points, fake, 2 * min(sigmas) ** 2 * _TOLERANCE):
        for row, sigma in zip(result, sigmas, strict=True):
            log_norm = math.log(count) + dimensions / 2 * math.log(2 * math.pi * sigma**2)
            row[rows] = torch.logsumexp(distances / (-2 * sigma**2), dim=1) - log_norm
    return result
