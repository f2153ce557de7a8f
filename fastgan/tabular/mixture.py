"""A Gaussian mixture of a column of numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MAX_COMPONENTS = 10
_CONCENTRATION = 1e-3
_MIN_WEIGHT = 5e-3
_ROWS = 10_000
_ITERATIONS = 100
# A mixture of 10,000 rows takes a second. Its likelihood, and about its number of components, are those of a
# mixture of 1,000 of their quantiles after 30 iterations, which takes 50 ms, if the prior is as weak as for
# 10,000. Fewer rows need all iterations: after 30, 455 rows still have twice the components.
_QUANTILES = 1000
_ITERATIONS_OF_QUANTILES = 30
_FAR = 1000  # interquartile ranges; within a mode of so many, float32 resolves the others


def fit_mixture(numbers: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Fit a Bayesian mixture with a Dirichlet process.

    Args:
        numbers: ``[N]``, finite, at least one; no distance overflows.
        rng: draws 10,000 rows, and the start.

    Returns:
        Means, 4 standard deviations and weights ``[components]``, float64, in the order of the means: at most
        10 components, each of a weight of at least 0.005.
    """
    rows = min(len(numbers), _ROWS)
    drawn = np.sort(numbers if rows == len(numbers) else rng.choice(numbers, rows, replace=False))
    count = min(rows, _QUANTILES)
    quantiles = _near(drawn[((np.arange(count) + 0.5) * (rows / count)).astype(np.intp)])
    half = quantiles[-1] / 2 - quantiles[0] / 2
    if half == 0:
        return quantiles[:1], np.zeros(1), np.ones(1)
    deviation = (quantiles / half).std() * half  # the squares of small numbers underflow
    center = quantiles.mean()
    mixture = _fitted((quantiles - center) / deviation, count / rows, rng)
    order = np.argsort(mixture.means_[:, 0])
    order = order[mixture.weights_[order] >= _MIN_WEIGHT]
    means = mixture.means_[order, 0] * deviation + center
    scales = 4 * np.sqrt(mixture.covariances_[order, 0]) * deviation
    return means, scales, mixture.weights_[order] / mixture.weights_[order].sum()


def _near(numbers: Floats) -> Floats:
    """Sorted numbers without those that are farther away by orders of magnitude, as 1e30 for no value is."""
    first, median, third = (numbers[int(len(numbers) * share)] for share in (0.25, 0.5, 0.75))
    return numbers[np.abs(numbers - median) <= _FAR * (third - first)] if third > first else numbers


def _fitted(numbers: Floats, strength: float, rng: np.random.Generator) -> Any:
    """A mixture of numbers of standard deviation 1, each of which stands for 1 / strength rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = BayesianGaussianMixture(
        n_components=min(_MAX_COMPONENTS, len(np.unique(numbers))),
        covariance_type="diag",
        max_iter=_ITERATIONS if strength == 1 else _ITERATIONS_OF_QUANTILES,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=_CONCENTRATION,
        mean_precision_prior=strength,
        degrees_of_freedom_prior=strength,
        covariance_prior=np.array([strength]),
        random_state=int(rng.integers(2**31)),
    )
    # for so few numbers, threads wait longer than they compute
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are limited on purpose
        return mixture.fit(numbers[:, None])
