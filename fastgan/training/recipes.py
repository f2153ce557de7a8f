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


_POINTS = Recipe(
    generator=(64, 64, 64, 64),
    discriminator=(64, 64, 64, 64),
    config=TrainConfig(steps=12_000, batch_size=256, latent_dim=2, learning_rate=2e-3, instance_noise=0.5),
)
_IMAGES = Recipe(
    generator=(256, 512),
    discriminator=(512, 256),
    config=TrainConfig(steps=20_000, batch_size=128, latent_dim=64, learning_rate=2e-4),
)

RECIPES: dict[str, Recipe] = {
    "ring": _POINTS,
    "grid": _POINTS,
    "digits": _IMAGES,
    "mnist": _IMAGES,
}


def recipe_for(data: Dataset) -> Recipe:
    """The recipe of a data set, or that of its kind if it has none of its own."""
    return RECIPES.get(data.name, _IMAGES if is_image(data.shape) else _POINTS)
