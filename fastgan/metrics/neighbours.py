"""Precision, recall, density and coverage, by k nearest neighbours.

Each set's manifold is the union of balls about its samples, whose radius is the distance to the k-th
nearest other sample. Precision and recall: Kynkäänniemi et al., 2019 (arXiv:1904.06991); density and
coverage, which an outlier's huge ball misleads less: Naeem et al., 2020 (arXiv:2002.09797). A ball is open,
as in the code of the latter, so that the density of a set against itself is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_samples
from fastgan.metrics.distances import squared_distances


@dataclass(frozen=True)
class Neighbourhood:
    """How two sets lie in each other.

    Attributes:
        precision: share of generated samples within the manifold of the real ones.
        recall: share of real samples within the manifold of the generated ones.
        density: how many balls of real samples a generated one lies in, over k: 1 where the two agree, more
            where generated samples crowd in the data's dense regions.
        coverage: share of real samples with a generated one in their ball; two sets of one distribution
            come to 1 - 2⁻ᵏ.
    """

    precision: float
    recall: float
    density: float
    coverage: float


@torch.no_grad()
def neighbourhood(real: Tensor, fake: Tensor, k: int = 5) -> Neighbourhood:
    """Compare two sets of points or of features.

    Args:
        real: ``[N, D]``, distinct.
        fake: ``[M, D]``.
        k: which neighbour gives the radius: 5 in Naeem et al., 3 in Kynkäänniemi et al. Compare equal k, N
            and M.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or there are no more than k samples.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k is {k}, expected a whole number of at least 1")
    check_samples("real", real, k + 1)
    check_samples("fake", fake, k + 1, like=real)
    real_radius, fake_radius = _squared_radii(real, k), _squared_radii(fake, k)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    inside = covered = recalled = 0
    for rows, distances in squared_distances(real, fake):
        near = distances < real_radius[rows, None]
        precise |= near.any(dim=0)
        inside += int(near.sum())
        covered += int(near.any(dim=1).sum())
        recalled += int((distances < fake_radius).any(dim=1).sum())
    return Neighbourhood(
        precision=float(precise.double().mean()),
        recall=recalled / len(real),
        density=inside / (k * len(fake)),
        coverage=covered / len(real),
    )


def _squared_radii(samples: Tensor, k: int) -> Tensor:
    """Squared distance to the k-th nearest other sample; the nearest of all is the sample itself."""
    nearest = [
        distances.topk(k + 1, largest=False).values[:, -1]
        for _, distances in squared_distances(samples, samples)
    ]
    return torch.cat(nearest)
