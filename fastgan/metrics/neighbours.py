"""Precision, recall, density and coverage, by k nearest neighbours.

The manifold of a set is the union of balls around its samples; a ball's radius is the distance to the k-th
nearest other sample. Precision and recall: Kynkäänniemi et al., 2019 (arXiv:1904.06991). Density and
coverage, which are more robust to outliers with large balls: Naeem et al., 2020 (arXiv:2002.09797). Balls are
open, as in the code of the latter, so that the density of a set against itself is 1.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_samples
from fastgan.metrics.distances import bounds_of_squared_distances
from fastgan.metrics.exact import ExactDistances, below, order_of

_ROUNDED = 2.0**-44  # bound of the relative error of ExactDistances.rounded


@dataclass(frozen=True)
class Neighbourhood:
    """How two sets overlap.

    Attributes:
        precision: share of generated samples within the manifold of the real ones.
        recall: share of real samples within the manifold of the generated ones.
        density: mean number of real samples' balls that contain a generated one, divided by k: 1 for equal
            distributions, more if generated samples concentrate in dense regions of the data.
        coverage: share of real samples with a generated one in their ball; 1 - 2⁻ᵏ for equal distributions.
    """

    precision: float
    recall: float
    density: float
    coverage: float


@torch.no_grad()
def neighbourhood(real: Tensor, fake: Tensor, k: int = 5) -> Neighbourhood:
    """Compare two sets of points or of features.

    Distances are compared without rounding, so that equal ones, which are frequent between binary features,
    are treated as equal.

    Args:
        real: ``[N, D]``. A row with k exact copies has a ball of radius 0, which contains nothing, not even
            the row. Such rows lower precision, density and coverage; a warning gives their number.
        fake: ``[M, D]``.
        k: the neighbor whose distance is the radius: 5 in Naeem et al., 3 in Kynkäänniemi et al. Compare only
            values for equal k, N and M.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or there are no more than k samples.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k is {k}, expected a whole number of at least 1")
    check_samples("real", real, k + 1)
    check_samples("fake", fake, k + 1, like=real)
    real, fake = _scaled(real.double(), fake.double())
    exact = ExactDistances(real, fake)
    real_radius, fake_radius = _squared_radii(real, k, exact), _squared_radii(fake, k, exact)
    if empty := int((real_radius == 0).all(dim=1).sum()):
        warnings.warn(
            f"{empty:,} of {len(real):,} real samples have {k} exact copies or more, and so a ball of "
            "radius 0, which holds nothing; remove duplicate rows, or raise k",
            stacklevel=3,  # past no_grad
        )
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    inside = covered = recalled = 0
    for rows, low, high in bounds_of_squared_distances(real, fake):
        pairs = _Pairs(real[rows], fake, low, high, exact)
        near = pairs.closer_than(real_radius[rows], of=0)
        precise |= near.any(dim=0)
        inside += int(near.sum())
        covered += int(near.any(dim=1).sum())
        recalled += int(pairs.closer_than(fake_radius, of=1).any(dim=1).sum())
    return Neighbourhood(
        precision=float(precise.double().mean()),
        recall=recalled / len(real),
        density=inside / (k * len(fake)),
        coverage=covered / len(real),
    )


def _scaled(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scale both sets below 1 by a power of two: exact, and no square overflows."""
    _, exponent = math.frexp(max(float(real.abs().max()), float(fake.abs().max())))
    factor = 2.0 ** -max(exponent, -1000)
    return real * factor, fake * factor


@dataclass(frozen=True)
class _Pairs:
    """All pairs of rows and columns, with bounds of their squared distances."""

    rows: Tensor
    columns: Tensor
    low: Tensor
    high: Tensor
    exact: ExactDistances

    def closer_than(self, radius: Tensor, of: int) -> Tensor:
        """Whether distances are below the radius of their row (``of=0``) or column (``of=1``)."""
        limit = self.exact.rounded(radius).unsqueeze(1 - of)
        closer = self.high < limit * (1 - _ROUNDED)
        # a ball of radius 0 is empty, so it needs no exact comparison
        undecided = self.low <= torch.where(limit > 0, limit * (1 + _ROUNDED), -math.inf)
        undecided ^= closer
        pair = undecided.nonzero(as_tuple=True)
        closer[pair] = below(self.exact.of_pairs(self.rows, self.columns, *pair), radius[pair[of]])
        return closer


def _squared_radii(samples: Tensor, k: int, exact: ExactDistances) -> Tensor:
    """Digits of the squared distance from each sample to its k-th nearest other sample."""
    _, kind, copies = samples.unique(dim=0, return_inverse=True, return_counts=True)
    # with k copies the radius is 0 without a search, which saves time for a collapsed generator
    searched = (copies[kind] <= k).nonzero().squeeze(1)
    radius = torch.zeros(len(samples), exact.places, dtype=torch.int64, device=samples.device)
    for part, low, high in bounds_of_squared_distances(samples[searched], samples):
        ceiling = high.topk(k + 1, largest=False).values[:, -1:]
        row, column = (low <= ceiling).nonzero(as_tuple=True)
        digits = exact.of_pairs(samples[searched[part]], samples, row, column)
        digits = digits[order_of(torch.cat([row.unsqueeze(1), digits], dim=1))]
        first = torch.searchsorted(row, torch.arange(len(low), device=row.device))
        radius[searched[part]] = digits[first + k]
    return radius
