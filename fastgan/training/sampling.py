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
    device = next(generator.parameters()).device
    latent = torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))
    return torch.cat([generator(part.to(device)).cpu() for part in latent.split(_BATCH)])
