"""Mode-specific normalization: a number as a mode of its column and a value in [-1, 1].

After Xu, Skoularidou, Cuesta-Infante and Veeramachaneni, "Modeling Tabular data using Conditional GAN",
arXiv:1907.00503, section 4.2. There, numbers far from all modes are clipped; here further modes cover them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json, expect
from fastgan.tabular.mixture import Floats, fit_mixture
from fastgan.training.setting import is_whole

_CHUNK = 1 << 16  # bounds the memory of probabilities
_EXPONENTS = range(-1073, 1025)  # of float64


@dataclass(frozen=True)
class Modes:
    """The modes of a column of numbers x: value = (x 2**-exponent - mean) / scale.

    Attributes:
        exponent: makes numbers at most 1, so that nothing overflows.
        means: ``[modes]``, float64.
        scales: ``[modes]``, float64: 4 standard deviations of a component, half of an extra mode's range.
        weights: ``[components]``, float64: of the first modes, which are a mixture's components. The others
            are extra modes, of numbers that no component covers.
    """

    exponent: int
    means: Floats
    scales: Floats
    weights: Floats

    @classmethod
    def fit(cls, numbers: Floats, rng: np.random.Generator) -> Modes:
        """Find the modes of finite numbers ``[N]``."""
        exponent = int(np.frexp(np.abs(numbers).max())[1])
        scaled = np.ldexp(numbers, -exponent)
        means, scales, weights = fit_mixture(scaled, rng)
        extra_means, extra_scales = _extra_modes(scaled, means, scales)
        return cls(exponent, np.append(means, extra_means), np.append(scales, extra_scales), weights)

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
            scaled = np.ldexp(numbers[chunk], -self.exponent)
            codes[chunk] = self._drawn(scaled, rng)
            values[chunk] = _quotients(scaled - self.means[codes[chunk]], self.scales[codes[chunk]])
        return codes, values

    def decode(self, codes: NDArray[np.int32], values: Floats) -> Floats:
        """The numbers ``[N]`` of modes ``[N]`` and values ``[N]``, which are clipped to [-1, 1]."""
        scaled = np.clip(values, -1, 1) * self.scales[codes] + self.means[codes]
        with np.errstate(over="ignore"):  # rounded up from the largest float64; the column's range bounds it
            numbers: Floats = np.ldexp(scaled, self.exponent)
        return numbers

    def to_json(self) -> Json:
        """These modes as JSON."""
        return {
            "exponent": self.exponent,
            **{name: getattr(self, name).tolist() for name in ("means", "scales", "weights")},
        }

    @classmethod
    def from_json(cls, json: Json) -> Modes:
        """The modes that :meth:`to_json` described; raises ValueError for others."""
        exponent = json["exponent"]
        arrays = {name: np.array(json[name], dtype=np.float64) for name in ("means", "scales", "weights")}
        expect(is_whole(exponent) and exponent in _EXPONENTS, f"modes.exponent of float64, not {exponent!r}")
        for name, array in arrays.items():
            expect(
                array.ndim == 1 and bool(np.isfinite(array).all()),
                f"a list of finite numbers as modes.{name}",
            )
        modes = cls(exponent, **arrays)
        expect(0 < len(modes.weights) <= len(modes), "at least one of modes.weights, and a mode for each")
        expect(len(modes.scales) == len(modes), "as many of modes.scales as of modes.means")
        expect(
            bool((modes.scales >= 0).all() and (modes.weights > 0).all()),
            "no negative scale or weight in modes",
        )
        return modes

    def _drawn(self, scaled: Floats, rng: np.random.Generator) -> NDArray[Any]:
        components = len(self.weights)
        cumulated = np.zeros((components + 1, len(scaled)))
        narrowest = self.scales[:components].min()
        for index, weight in enumerate(self.weights):
            mean, scale = self.means[index], self.scales[index]
            value = _quotients(scaled - mean, scale)
            # a scale is 4 standard deviations; it is 0 only for a single component
            density = np.exp(-8 * value * value) * (weight * narrowest / scale if scale > 0 else 1.0)
            density[~_covered(scaled, mean, scale)] = 0
            np.add(cumulated[index], density, out=cumulated[index + 1])
        threshold = rng.random(len(scaled)) * cumulated[-1]
        codes: NDArray[Any] = (cumulated[1:components] <= threshold).sum(axis=0)
        elsewhere = np.flatnonzero(cumulated[-1] == 0)
        distances = np.abs(scaled[elsewhere] - self.means[:, None]) - self.scales[:, None]
        codes[elsewhere] = np.maximum(distances, 0).argmin(axis=0)
        return codes


def _quotients(numbers: Floats, scale: Any) -> Floats:
    """numbers / scale, clipped to [-1, 1]; 0 where the scale is, as there all numbers are one."""
    with np.errstate(over="ignore"):
        quotients: Floats = np.divide(numbers, scale, out=np.zeros_like(numbers), where=np.asarray(scale) > 0)
    return np.clip(quotients, -1, 1, out=quotients)


def _covered(scaled: Floats, mean: float, scale: float) -> NDArray[np.bool_]:
    covered: NDArray[np.bool_] = np.abs(scaled - mean) <= scale
    return covered


def _extra_modes(scaled: Floats, means: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Means and scales of a mode for each tail or gap that has numbers which no component covers."""
    left = np.ones(len(scaled), dtype=bool)
    for mean, scale in zip(means, scales, strict=True):
        left &= ~_covered(scaled, mean, scale)
    numbers = np.sort(scaled[left])
    # a component covers neither of two numbers and lies between them if its mean does
    gaps = np.searchsorted(means, numbers)
    first = np.flatnonzero(np.diff(gaps, prepend=-1))
    last = np.flatnonzero(np.diff(gaps, append=-1))
    return numbers[first] / 2 + numbers[last] / 2, numbers[last] / 2 - numbers[first] / 2
