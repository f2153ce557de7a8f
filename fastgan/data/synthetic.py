"""Mixtures of Gaussians in the plane, the standard tests for mode collapse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan.data.dataset import Dataset, Modes
from fastgan.data.transform import Transform

SAMPLES = 50_000
_DATA_SEED = 0  # the data set is the same in every run; a run's seed affects only training


def ring(sigma: float = 0.02, samples: int = SAMPLES) -> Dataset:
    """Eight Gaussians, evenly spaced on the unit circle."""
    angles = torch.arange(8, dtype=torch.float32) * (2 * math.pi / 8)
    centers = torch.stack([angles.cos(), angles.sin()], dim=1)
    return _mixture("ring", Modes(centers, sigma), 1.0, samples)


def grid(scale: float = 0.5, samples: int = SAMPLES) -> Dataset:
    """Twenty-five Gaussians of standard deviation 0.05, at coordinates -4, -2, 0, 2 and 4.

    A ``scale`` below 1 magnifies the samples: D distinguishes the modes better, and G finds more of them.
    """
    coordinates = torch.linspace(-4, 4, 5, dtype=torch.float32)
    centers = torch.cartesian_prod(coordinates, coordinates)
    return _mixture("grid", Modes(centers, sigma=0.05), scale, samples)


def _mixture(name: str, modes: Modes, scale: float, samples: int) -> Dataset:
    rng = torch.Generator().manual_seed(_DATA_SEED)
    mode = torch.randint(len(modes.centers), (samples,), generator=rng)
    noise: Tensor = modes.sigma * torch.randn(samples, 2, generator=rng, dtype=torch.float32)
    return Dataset(name, (modes.centers[mode] + noise) / scale, Transform((scale,)), modes)
