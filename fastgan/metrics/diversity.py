"""How far apart samples lie: a measure of diversity that takes one pass over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_diversity(fake: Tensor, real: Tensor) -> float | None:
    """Mean distance between two generated samples over that between two real ones.

    Args:
        fake: ``[N, ...]``, in an order that says nothing.
        real: ``[M, ...]``, likewise.

    Returns:
        Near 0 where a generator has collapsed. None where no two real samples differ, or there are fewer than
        two of a kind, or a generated one is not finite: then there is nothing to compare.
    """
    ratio = float(mean_distance(fake) / mean_distance(real))
    return ratio if math.isfinite(ratio) else None


def mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance between neighbours in a list of independent draws, for that of all pairs.

    Args:
        samples: ``[N, ...]`` in an order that says nothing, N at least 2; for fewer it is nan.

    Returns:
        A scalar on the device of the samples.

    Raises:
        ValueError: if the samples have no dimension but N.
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
