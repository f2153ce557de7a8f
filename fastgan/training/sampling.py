"""Drawing from a trained generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BATCH = 1_000


@torch.no_grad()
def sample(generator: nn.Module, count: int, latent_dim: int, seed: int) -> Tensor:
    """Generate samples that the seed alone decides.

    Args:
        generator: from ``[N, latent_dim]`` to samples.
        count: how many.
        latent_dim: size of a latent vector.
        seed: of the latent vectors, which are drawn on the CPU whatever the device.

    Returns:
        ``[count, ...]`` on the CPU.
    """
    return _generate(generator, torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed)))


@torch.no_grad()
def interpolation(generator: nn.Module, rows: int, latent_dim: int, seed: int) -> Tensor:
    """Generate ``rows`` samples from each of ``rows`` latent vectors to another, on the great circle.

    A straight line would leave the shell on which vectors of a normal distribution lie (White, 2016).

    Returns:
        ``[rows * rows, ...]`` on the CPU, row by row.
    """
    rng = torch.Generator().manual_seed(seed)
    begin, end = torch.randn(2, rows, 1, latent_dim, generator=rng)
    cosine = torch.cosine_similarity(begin, end, dim=-1).clamp(-0.9999, 0.9999).unsqueeze(-1)
    angle, t = cosine.acos(), torch.linspace(0, 1, rows).view(1, rows, 1)
    latent = (((1 - t) * angle).sin() * begin + (t * angle).sin() * end) / angle.sin()
    return _generate(generator, latent.flatten(0, 1))


def _generate(generator: nn.Module, latent: Tensor) -> Tensor:
    device = next(generator.parameters()).device
    return torch.cat([generator(part.to(device)).cpu() for part in latent.split(_BATCH)])
