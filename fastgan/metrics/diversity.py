"""How far apart samples lie: a measure of diversity that takes one pass over them."""

from __future__ import annotations

import torch
from torch import Tensor


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
    distances: Tensor = torch.linalg.vector_norm(flat[1:] - flat[:-1], dim=1)
    return distances.mean()
