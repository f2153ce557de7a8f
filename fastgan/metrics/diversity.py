"""Mean distance between samples, a measure of diversity that takes one pass over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_diversity(fake: Tensor, real: Tensor) -> float | None:
    """Mean distance between two generated samples, divided by that between two real ones.

    Args:
        fake: ``[N, ...]`` in random order.
        real: ``[M, ...]`` in random order.

    Returns:
        The ratio, near 0 after a collapse. None if all real samples are equal, either set has fewer than two,
        or a generated one is not finite.
    """
    ratio = float(mean_distance(fake) / mean_distance(real))
    return ratio if math.isfinite(ratio) else None


def mean_distance(samples: Tensor) -> Tensor:
    """Estimates the mean Euclidean distance of all pairs by that of successive samples in random order.

    Args:
        samples: ``[N, ...]`` in random order.

    Returns:
        A scalar on the device of the samples; nan if N is below 2.

    Raises:
        ValueError: if the samples have fewer than two dimensions.
    """
    if samples.ndim < 2:
        raise ValueError(
            f"samples have shape {list(samples.shape)}, expected [N, ...] of two dimensions or more"
        )
    flat = samples.flatten(1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.double()  # differences of uint8 would wrap around, squares of float16 overflow
    distances: Tensor = torch.linalg.vector_norm(flat[1:] - flat[:-1], dim=1)
    return distances.mean()
