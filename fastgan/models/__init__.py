"""Generators and discriminators, one file per family, and the table of families for recipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from fastgan.models.dcgan import DCGANDiscriminator, DCGANGenerator
from fastgan.models.goodfellow import GoodfellowDiscriminator, GoodfellowGenerator
from fastgan.models.maps import image_widths
from fastgan.models.maxout import Maxout
from fastgan.models.mlp import MLPAutoencoder, MLPDiscriminator, MLPGenerator
from fastgan.models.pacgan import PacGANDiscriminator, PacGANGenerator
from fastgan.models.r3gan import R3GANDiscriminator, R3GANGenerator
from fastgan.models.stylegan2 import GROUP, StyleGAN2Discriminator, StyleGAN2Generator
from fastgan.models.unrolled import (
    UnrolledDiscriminator,
    UnrolledGenerator,
    unrolled_discriminator,
    unrolled_generator,
)

Shape = Sequence[int]
Widths = Sequence[int]


class Family(NamedTuple):
    """Constructors: generator(latent size, sample shape, widths), discriminator(sample shape, widths).

    If it ``has_classes``, both also take ``num_classes``, and the networks labels. A batch that D sees has a
    multiple of ``group`` samples.
    """

    generator: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]
    has_classes: bool = False
    group: int = 1


def _mlp_generator(
    latent_dim: int, sample_shape: Shape, hidden: Widths, *, num_classes: int = 0
) -> MLPGenerator:
    is_image = len(sample_shape) == 3
    return MLPGenerator(latent_dim, sample_shape, hidden, bounded=is_image, num_classes=num_classes)


FAMILIES = {
    "mlp": Family(_mlp_generator, MLPDiscriminator, has_classes=True),
    "autoencoder": Family(_mlp_generator, MLPAutoencoder),
    "dcgan": Family(DCGANGenerator, DCGANDiscriminator, has_classes=True),
    "pacgan": Family(PacGANGenerator, PacGANDiscriminator),
    "goodfellow": Family(GoodfellowGenerator, GoodfellowDiscriminator),
    "unrolled": Family(unrolled_generator, unrolled_discriminator),
    "stylegan2": Family(StyleGAN2Generator, StyleGAN2Discriminator, has_classes=True, group=GROUP),
    "r3gan": Family(R3GANGenerator, R3GANDiscriminator, has_classes=True),
}

__all__ = [
    "FAMILIES",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Family",
    "GoodfellowDiscriminator",
    "GoodfellowGenerator",
    "MLPAutoencoder",
    "MLPDiscriminator",
    "MLPGenerator",
    "Maxout",
    "PacGANDiscriminator",
    "PacGANGenerator",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "UnrolledDiscriminator",
    "UnrolledGenerator",
    "image_widths",
]
