"""What a generator is fed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan.training.config import Latent

_REACH = math.sqrt(3)  # of a uniform distribution of unit variance, either side of zero


def draw_latent(shape: tuple[int, ...], latent: Latent, rng: torch.Generator) -> Tensor:
    """Independent numbers of mean 0 and variance 1, standard normal or uniform, on the stream's device."""
    if latent == "uniform":
        uniform = torch.rand(shape, generator=rng, device=rng.device)
        return uniform.mul_(2 * _REACH).sub_(_REACH)
    return torch.randn(shape, generator=rng, device=rng.device)
