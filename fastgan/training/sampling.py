"""Samples of a trained generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.training.config import Latent
from fastgan.training.draws import GeneratorDraws
from fastgan.training.latent import draw_latent, inputs

_BATCH = 1_000


@torch.no_grad()
def sample(
    generator: nn.Module,
    count: int,
    latent_dim: int,
    seed: int,
    latent: Latent = "normal",
    labels: Tensor | None = None,
) -> Tensor:
    """Generate samples from latent vectors of a seed.

    Args:
        generator: from ``[N, latent_dim]``, and labels if any are given, to samples.
        count: number of samples.
        latent_dim: size of a latent vector.
        seed: seed of the latent vectors, which are drawn on the CPU for any device.
        latent: distribution of the latent vectors.
        labels: int64 ``[count]``, the classes of the samples.

    Returns:
        ``[count, ...]`` on the CPU.
    """
    rng = torch.Generator().manual_seed(seed)
    return _generate(generator, draw_latent((count, latent_dim), latent, GeneratorDraws(rng)), labels)


@torch.no_grad()
def interpolation(
    generator: nn.Module,
    rows: int,
    latent_dim: int,
    seed: int,
    latent: Latent = "normal",
    label: int | None = None,
) -> Tensor:
    """Generate ``rows`` samples from each of ``rows`` latent vectors to another.

    Normal vectors lie near a sphere, so the path is an arc on it (White, 2016). For uniform vectors it is a
    straight line, which stays in their cube. ``label`` is the class of all samples.

    Returns:
        ``[rows * rows, ...]`` on the CPU, row by row.
    """
    rng = torch.Generator().manual_seed(seed)
    begin, end = draw_latent((2, rows, 1, latent_dim), latent, GeneratorDraws(rng))
    t = torch.linspace(0, 1, rows, dtype=begin.dtype).view(1, rows, 1)
    if latent == "uniform":
        between = torch.lerp(begin, end, t)
    else:
        cosine = torch.cosine_similarity(begin, end, dim=-1).clamp(-0.9999, 0.9999).unsqueeze(-1)
        angle = cosine.acos()
        between = (((1 - t) * angle).sin() * begin + (t * angle).sin() * end) / angle.sin()
    labels = None if label is None else torch.full((rows * rows,), label)
    return _generate(generator, between.flatten(0, 1), labels)


def _generate(generator: nn.Module, latent: Tensor, labels: Tensor | None) -> Tensor:
    like = next(generator.parameters())
    return in_batches(generator, latent.to(like), None if labels is None else labels.to(like.device)).cpu()


def in_batches(network: nn.Module, first: Tensor, labels: Tensor | None) -> Tensor:
    """What a network returns for latent vectors or samples, and labels if there are any, part by part."""
    parts = zip(*(each.split(_BATCH) for each in inputs(first, labels)), strict=True)
    return torch.cat([network(*part) for part in parts])
