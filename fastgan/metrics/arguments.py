"""Checks of the arguments of metrics."""

from __future__ import annotations

import torch
from torch import Tensor


def check_samples(name: str, samples: Tensor, least: int, like: Tensor | None = None) -> None:
    """Check that samples are ``[N, D]`` and finite, with N at least ``least`` and the D of ``like``.

    Raises:
        ValueError: if they are not.
    """
    width = "D" if like is None else like.shape[1]
    if samples.ndim != 2 or len(samples) < least or width not in ("D", samples.shape[1]):
        raise ValueError(
            f"{name} has shape {list(samples.shape)}, expected [N, {width}] with N at least {least}"
        )
    check_finite(name, samples)


def check_finite(name: str, values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} holds nan or infinite values, expected finite ones")
