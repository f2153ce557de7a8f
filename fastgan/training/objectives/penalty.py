"""Gradient penalties on D."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.training.objectives.passes import through


def penalty_turn(discriminator: nn.Module, samples: Tensor, weight: float) -> None:
    """Add the gradient of ``weight / 2`` E |grad_x D(x)|^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        samples: ``[N, ...]``; real ones for R1, generated ones for R2.
        weight: gamma of Mescheder et al., 2018, equations 9 and 10.
    """
    seen = through(discriminator, samples, of_parameters=True, of_samples=True)
    seen.reach_parameters_by_slope(weight / len(samples) * seen.slope())


def lipschitz_penalty_turn(discriminator: nn.Module, samples: Tensor, weight: float) -> None:
    """Add the gradient of ``weight`` E (|grad_x D(x)| - 1)^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        samples: ``[N, ...]``, from :func:`between` for WGAN-GP, from :func:`around` for DRAGAN.
        weight: lambda of Gulrajani et al., 2017, equation 3, and of Kodali et al., 2017, section 2.3.
    """
    seen = through(discriminator, samples, of_parameters=True, of_samples=True)
    slope = seen.slope()
    norm = torch.linalg.vector_norm(slope.flatten(1), dim=1).view(-1, *[1] * (slope.dim() - 1))
    # the norm is not differentiable at zero; PyTorch's derivative there is zero
    factor = torch.where(norm > 0, 1 - 1 / norm, 0.0)
    seen.reach_parameters_by_slope(2 * weight / len(samples) * factor * slope)


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Points on the lines from each generated sample to a real one (Gulrajani et al., 2017, algorithm 1).

    Args:
        real, fake: ``[N, ...]``.
        share: ``[N, 1, ...]``, uniform in [0, 1): position on the line.
    """
    return torch.lerp(fake, real, share.to(real.dtype))


def around(real: Tensor, share: Tensor, noise: Tensor) -> Tensor:
    """Points near the real samples: x + share * std(x) / 2 * noise, as in Kodali et al.'s code.

    Args:
        real: ``[N, ...]``.
        share: ``[N, 1, ...]``, uniform in [0, 1).
        noise: ``[N, ...]``, uniform in [0, 1). In the paper the noise is normal.
    """
    return real + share * (real.std() / 2) * noise
