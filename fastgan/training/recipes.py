"""Settings that are known to train well, a data set each."""

from __future__ import annotations

from dataclasses import dataclass

from fastgan.data import Dataset
from fastgan.data.dataset import is_image
from fastgan.training.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """Networks and settings.

    Attributes:
        generator: widths of the generator's hidden layers.
        discriminator: widths of the discriminator's hidden layers.
        config: settings of the run.
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    config: TrainConfig


RECIPES: dict[str, Recipe] = {
    "ring": Recipe(
        generator=(64, 64, 64, 64),
        discriminator=(64, 64, 64, 64),
        config=TrainConfig(
            steps=20_000, batch_size=256, latent_dim=2, learning_rate=1e-3, instance_noise=0.4, threads=1
        ),
    ),
    "grid": Recipe(
        generator=(128, 128, 128, 128),
        discriminator=(128, 128, 128, 128),
        config=TrainConfig(
            steps=20_000, batch_size=256, latent_dim=2, learning_rate=1e-3, instance_noise=1.2, threads=1
        ),
    ),
    "digits": Recipe(
        generator=(128, 256),
        discriminator=(256, 128),
        config=TrainConfig(
            steps=10_000, batch_size=128, latent_dim=32, learning_rate=5e-4, instance_noise=0.5, threads=1
        ),
    ),
    "mnist": Recipe(
        generator=(256, 512),
        discriminator=(512, 256),
        config=TrainConfig(
            steps=16_000, batch_size=128, latent_dim=64, learning_rate=5e-4, instance_noise=1.0
        ),
    ),
}


def recipe_for(data: Dataset) -> Recipe:
    """The recipe of a data set; other images get that of mnist, other points that of ring."""
    kind = "mnist" if is_image(data.shape) else "ring"
    return RECIPES.get(data.name, RECIPES[kind])
