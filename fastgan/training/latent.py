"""What a generator is fed."""

from __future__ import annotations

import math

from torch import Tensor

from fastgan.training.config import Latent
from fastgan.training.draws import Draws

_REACH = math.sqrt(3)  # of a uniform distribution of unit variance, either side of zero


def draw_latent(shape: tuple[int, ...], latent: Latent, draws: Draws) -> Tensor:
    """Independent numbers of mean 0 and variance 1, standard normal or uniform, on the draws' device."""
    if latent == "uniform":
        return draws.uniform(shape).mul_(2 * _REACH).sub_(_REACH)
    return draws.normal(shape)
