"""Gradient penalties on D."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def penalty_turn(discriminator: nn.Module, samples: Tensor, weight: float) -> None:
    """Add the gradient of ``weight / 2`` E |grad_x D(x)|^2 to D's parameters.

    Args:
        discriminator: D, from samples to logits.
        samples: ``[N, ...]``; real ones for R1, generated ones for R2.
        weight: gamma of Mescheder et al., 2018, equations 9 and 10.
    """
    samples = samples.detach().requires_grad_()
    logits = discriminator(samples)
    (slope,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    (weight / 2 * slope.square().sum() / len(samples)).backward()
