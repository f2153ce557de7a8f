"""Latent vectors."""

from __future__ import annotations

import math

from torch import Tensor

from fastgan.training.config import Latent
from fastgan.training.draws import Draws

REACH = math.sqrt(3)
"""The uniform distribution of variance 1 is that on [-√3, √3]."""


def inputs(latent: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    """The arguments of a generator: latent vectors, and labels if there are any."""
    return (latent,) if labels is None else (latent, labels)


def draw_latent(shape: tuple[int, ...], latent: Latent, draws: Draws) -> Tensor:
    """Independent numbers of mean 0 and variance 1, standard normal or uniform, on the draws' device."""
    if latent == "uniform":
        return draws.uniform(shape).mul_(2 * REACH).sub_(REACH)
    return draws.normal(shape)
