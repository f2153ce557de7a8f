"""Mode-specific normalization: a number as a mode of its column and a value in [-1, 1].

After Xu, Skoularidou, Cuesta-Infante and Veeramachaneni (2019), "Modeling Tabular data using Conditional GAN",
arXiv:1907.00503, section 4.2. There, numbers far from all modes are clipped; here they have modes of their own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json

Floats = NDArray[np.float64]

_MAX_COMPONENTS = 10
_CONCENTRATION = 1e-3
_MIN_WEIGHT = 5e-3
_ROWS = 10_000
# A mixture of 10,000 rows takes a second. Its likelihood is that of a mixture of 1,000 of their quantiles after 30
# iterations, if the prior is as weak as for 10,000, which takes 50 ms.
_QUANTILES = 1000
_ITERATIONS = 30
_CHUNK = 1 << 16  # bounds the memory of probabilities


@dataclass(frozen=True)
class Modes:
    """The modes of a column of numbers x: u = (x 2**-exponent - middle) / half, and value = (u - mean) / scale.

    Attributes:
        exponent: makes numbers at most 1, so that nothing overflows.
        middle: of the range of x 2**-exponent.
        half: half of that range.
        means: ``[modes]``, float64.
        scales: ``[modes]``, float64: 4 standard deviations of a component, half of an extra mode's range.
        weights: ``[components]``, float64: of the first modes, which are a mixture's components. The others
            are extra modes, of numbers that no component covers.
    """

    exponent: int
    middle: float
    half: float
    means: Floats
    scales: Floats
    weights: Floats

    @classmethod
    def fit(cls, numbers: Floats, rng: np.random.Generator) -> Modes:
        """Find the modes of finite numbers ``[N]``."""
        low, high = float(numbers.min()), float(numbers.max())
        exponent = int(np.frexp(max(abs(low), abs(high)))[1])
        low, high = (float(np.ldexp(bound, -exponent)) for bound in (low, high))
        modes = cls(exponent, low / 2 + high / 2, high / 2 - low / 2, *_mixture(np.zeros(1), rng))
        standard = modes._standardized(numbers)
        means, scales, weights = _mixture(standard, rng)
        extra_means, extra_scales = _extra(standard, means, scales)
        return cls(
            exponent,
            modes.middle,
            modes.half,
            np.concatenate([means, extra_means]),
            np.concatenate([scales, extra_scales]),
            weights,
        )

    def __len__(self) -> int:
        return len(self.means)

    def encode(self, numbers: Floats, rng: np.random.Generator) -> tuple[NDArray[np.int32], Floats]:
        """Draw each number's mode from the posterior probabilities of the components that cover it.

        Args:
            numbers: ``[N]``, finite.
            rng: draws.

        Returns:
            Modes ``[N]``, int32, and values ``[N]``, float64 in [-1, 1].
        """
        codes = np.empty(len(numbers), dtype=np.int32)
        values = np.empty(len(numbers))
        for start in range(0, len(numbers), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            standard = self._standardized(numbers[chunk])
            codes[chunk] = self._drawn(standard, rng)
            values[chunk] = _divided(standard - self.means[codes[chunk]], self.scales[codes[chunk]])
        return codes, np.clip(values, -1, 1, out=values)

    def decode(self, codes: NDArray[np.int32], values: Floats) -> Floats:
        """The numbers ``[N]`` of modes ``[N]`` and values ``[N]``, which are clipped to [-1, 1]."""
        standard = np.clip(values, -1, 1) * self.scales[codes] + self.means[codes]
        numbers: Floats = np.ldexp(standard * self.half + self.middle, self.exponent)
        return numbers

    def to_json(self) -> Json:
        """These modes as JSON."""
        return {
            "exponent": self.exponent,
            "middle": self.middle,
            "half": self.half,
            **{name: getattr(self, name).tolist() for name in ("means", "scales", "weights")},
        }

    @classmethod
    def from_json(cls, json: Json) -> Modes:
        """The modes that :meth:`to_json` described."""
        arrays = {name: np.array(json[name], dtype=np.float64) for name in ("means", "scales", "weights")}
        return cls(json["exponent"], json["middle"], json["half"], **arrays)

    def _standardized(self, numbers: Floats) -> Floats:
        return _divided(np.ldexp(numbers, -self.exponent) - self.middle, self.half)

    def _drawn(self, standard: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
        cumulated = np.zeros((len(self.weights) + 1, len(standard)))
        for index, weight in enumerate(self.weights):
            value = _divided(standard - self.means[index], self.scales[index])
            # a scale is 4 deviations
            density = np.exp(-8 * value * value) * (weight / (self.scales[index] or 1.0))
            density[_uncovered(standard, self.means[index], self.scales[index])] = 0
            np.add(cumulated[index], density, out=cumulated[index + 1])
        threshold = rng.random(len(standard)) * cumulated[-1]
        codes = (cumulated[1:-1] <= threshold).sum(axis=0)
        elsewhere = np.flatnonzero(cumulated[-1] == 0)
        codes[elsewhere] = self._closest(standard[elsewhere])
        return codes

    def _closest(self, standard: Floats) -> NDArray[np.intp]:
        distances = np.abs(standard - self.means[:, None]) - self.scales[:, None]
        return np.maximum(distances, 0).argmin(axis=0)


def _divided(numbers: Floats, scale: Any) -> Floats:
    """numbers / scale; 0 where the scale is, as there all numbers are one."""
    return np.divide(numbers, scale, out=np.zeros_like(numbers), where=np.asarray(scale) > 0)


def _uncovered(standard: Floats, mean: Any, scale: Any) -> NDArray[np.bool_]:
    outside: NDArray[np.bool_] = np.abs(standard - mean) > scale
    return outside


def _mixture(standard: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Means, scales and weights ``[components]`` of a Gaussian mixture, in the order of the means."""
    rows = min(len(standard), _ROWS)
    drawn = np.sort(standard if rows == len(standard) else rng.choice(standard, rows, replace=False))
    count = min(rows, _QUANTILES)
    quantiles = drawn[((np.arange(count) + 0.5) * (rows / count)).astype(np.intp)]
    center, deviation = quantiles.mean(), quantiles.std()
    if quantiles[0] == quantiles[-1] or deviation == 0:
        return quantiles[:1], np.zeros(1), np.ones(1)
    mixture = _fitted((quantiles - center) / deviation, count / rows, rng)
    kept = mixture.weights_ >= _MIN_WEIGHT
    means, variances = mixture.means_[kept, 0], mixture.covariances_[kept, 0]
    order = np.argsort(means)
    scales = 4 * np.sqrt(variances) * deviation
    weights = mixture.weights_[kept] / mixture.weights_[kept].sum()
    return (means * deviation + center)[order], scales[order], weights[order]


def _fitted(numbers: Floats, strength: float, rng: np.random.Generator) -> Any:
    """A mixture of numbers of deviation 1, each of which stands for 1 / strength rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    mixture = BayesianGaussianMixture(
        n_components=min(_MAX_COMPONENTS, len(np.unique(numbers))),
        covariance_type="diag",
        max_iter=_ITERATIONS,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=_CONCENTRATION,
        mean_precision_prior=strength,
        degrees_of_freedom_prior=strength,
        covariance_prior=np.array([strength]),
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are limited on purpose
        return mixture.fit(numbers[:, None])


def _extra(standard: Floats, means: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Means and scales of a mode for each tail or gap that has numbers which no component covers."""
    left = np.ones(len(standard), dtype=bool)
    for mean, scale in zip(means, scales, strict=True):
        left &= _uncovered(standard, mean, scale)
    numbers = np.sort(standard[left])
    if not len(numbers):
        return np.empty(0), np.empty(0)
    # a component lies between two numbers if its mean does, as it covers neither
    gaps = np.searchsorted(means, numbers)
    first = np.flatnonzero(np.diff(gaps, prepend=-1))
    last = np.append(first[1:], len(numbers)) - 1
    return numbers[first] / 2 + numbers[last] / 2, numbers[last] / 2 - numbers[first] / 2
