"""Fréchet distance of two sets of features, modeled as Gaussians (Heusel et al., 2017; arXiv:1706.08500)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.metrics.arguments import check_finite, check_samples
from fastgan.metrics.moments import Moments, RunningMoments

_ROUNDING = 1e-4  # eigenvalues may be negative by this share of their norm


def frechet_distance(real: Tensor | Moments, fake: Tensor | Moments) -> float:
    """Squared Fréchet distance between Gaussians with the means and covariances of two sets.

    Args:
        real: ``[N, D]`` features, or their moments.
        fake: ``[M, D]`` features of the same network, or their moments. Compare only values for equal N and
            M: fewer samples give larger ones.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or a set has fewer than two samples.
    """
    one = _moments("real", real)
    two = _moments("fake", fake, like=one.mean.unsqueeze(0))
    return gaussian_frechet_distance(one.mean, one.covariance, two.mean, two.covariance)


def gaussian_frechet_distance(mean: Tensor, covariance: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½) (Dowson and Landau, 1982).

    The last trace is computed as the sum of the singular values of Σ₁^½ Σ₂^½. This avoids the root of a
    product, whose small eigenvalues are lost to rounding, and works for singular covariances too.

    Args:
        mean, mean2: ``[D]``.
        covariance, covariance2: ``[D, D]``, symmetric and positive semidefinite up to rounding.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite, or a covariance has negative eigenvalues.
    """
    size = mean.numel()
    for name, moment, shape in (
        ("mean", mean, [size]),
        ("covariance", covariance, [size, size]),
        ("mean2", mean2, [size]),
        ("covariance2", covariance2, [size, size]),
    ):
        if list(moment.shape) != shape:
            raise ValueError(f"{name} has shape {list(moment.shape)}, expected {shape}")
        check_finite(name, moment)
    mean, covariance, mean2, covariance2 = (t.double() for t in (mean, covariance, mean2, covariance2))
    roots = _root("covariance", covariance), _root("covariance2", covariance2)
    shared = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    distance = (mean - mean2).square().sum() + covariance.trace() + covariance2.trace() - 2 * shared
    return max(float(distance), 0.0)


def _moments(name: str, features: Tensor | Moments, like: Tensor | None = None) -> Moments:
    if isinstance(features, Moments):
        return features
    check_samples(name, features, 2, like=like)
    running = RunningMoments()
    running.add(features)
    return running.moments()


def _root(name: str, matrix: Tensor) -> Tensor:
    """The symmetric square root; eigenvalues that rounding made negative count as 0."""
    values, vectors = torch.linalg.eigh(matrix)
    if (values < -_ROUNDING * values.norm()).any():
        raise ValueError(f"{name} has an eigenvalue of {values.min():g}, expected none below 0")
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root
