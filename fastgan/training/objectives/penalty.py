"""Gradient penalties on D."""

from __future__ import annotations

from torch import Tensor, nn

from fastgan.kernels import choose
from fastgan.training.objectives.passes import through


def penalty_turn(discriminator: nn.Module, samples: Tensor, weight: float) -> None:
    """Add the gradient of ``weight / 2`` E |grad_x D(x)|^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        samples: ``[N, ...]``; real ones for R1, generated ones for R2.
        weight: gamma of Mescheder et al., 2018, equations 9 and 10.
    """
    seen = through(discriminator, samples, of_slope=True)
    seen.reach_parameters_by_slope(weight / len(samples) * seen.slope())


def lipschitz_penalty_turn(discriminator: nn.Module, samples: Tensor, weight: float) -> None:
    """Add the gradient of ``weight`` E (|grad_x D(x)| - 1)^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        samples: ``[N, ...]``, from :func:`fastgan.penalties.between` for WGAN-GP, from
            :func:`fastgan.penalties.around` for DRAGAN.
        weight: lambda of Gulrajani et al., 2017, equation 3, and of Kodali et al., 2017, section 2.3.
    """
    seen = through(discriminator, samples, of_slope=True)
    slope = seen.slope()
    seen.reach_parameters_by_slope(choose(slope).lipschitz_grad(slope, weight))
