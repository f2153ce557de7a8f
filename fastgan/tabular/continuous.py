"""Mode-specific normalization: a number as a mode of its column and a value in [-1, 1].

After Xu, Skoularidou, Cuesta-Infante and Veeramachaneni, "Modeling Tabular data using Conditional GAN",
arXiv:1907.00503, section 4.2. There, numbers far from all modes are clipped; here further modes cover them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json
from fastgan.tabular.mixture import Floats, fit_mixture

_CHUNK = 1 << 16  # bounds the memory of probabilities


@dataclass(frozen=True)
class Modes:
    """The modes of a column of numbers x: u = (x 2**-exponent - middle) / half, value = (u - mean) / scale.

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
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        standard = _standardized(numbers, exponent, middle, half)
        means, scales, weights = fit_mixture(standard, rng)
        extra_means, extra_scales = _extra_modes(standard, means, scales)
        means, scales = np.append(means, extra_means), np.append(scales, extra_scales)
        return cls(exponent, middle, half, means, scales, weights)

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
            standard = _standardized(numbers[chunk], self.exponent, self.middle, self.half)
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

    def _drawn(self, standard: Floats, rng: np.random.Generator) -> NDArray[Any]:
        components = len(self.weights)
        cumulated = np.zeros((components + 1, len(standard)))
        for index, weight in enumerate(self.weights):
            mean, scale = self.means[index], self.scales[index]
            value = _divided(standard - mean, scale)
            # a scale is 4 standard deviations
            density = np.exp(-8 * value * value) * (weight / scale if scale > 0 else 1.0)
            density[~_covered(standard, mean, scale)] = 0
            np.add(cumulated[index], density, out=cumulated[index + 1])
        threshold = rng.random(len(standard)) * cumulated[-1]
        codes: NDArray[Any] = (cumulated[1:components] <= threshold).sum(axis=0)
        elsewhere = np.flatnonzero(cumulated[-1] == 0)
        distances = np.abs(standard[elsewhere] - self.means[:, None]) - self.scales[:, None]
        codes[elsewhere] = np.maximum(distances, 0).argmin(axis=0)
        return codes


def _standardized(numbers: Floats, exponent: int, middle: float, half: float) -> Floats:
    return _divided(np.ldexp(numbers, -exponent) - middle, half)


def _divided(numbers: Floats, scale: Any) -> Floats:
    """numbers / scale; 0 where the scale is, as there all numbers are one."""
    quotients: Floats = np.divide(numbers, scale, out=np.zeros_like(numbers), where=np.asarray(scale) > 0)
    return quotients


def _covered(standard: Floats, mean: float, scale: float) -> NDArray[np.bool_]:
    covered: NDArray[np.bool_] = np.abs(standard - mean) <= scale
    return covered


def _extra_modes(standard: Floats, means: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Means and scales of a mode for each tail or gap that has numbers which no component covers."""
    left = np.ones(len(standard), dtype=bool)
    for mean, scale in zip(means, scales, strict=True):
        left &= ~_covered(standard, mean, scale)
    numbers = np.sort(standard[left])
    # a component covers neither of two numbers and lies between them if its mean does
    gaps = np.searchsorted(means, numbers)
    first = np.flatnonzero(np.diff(gaps, prepend=-1))
    last = np.flatnonzero(np.diff(gaps, append=-1))
    return numbers[first] / 2 + numbers[last] / 2, numbers[last] / 2 - numbers[first] / 2
