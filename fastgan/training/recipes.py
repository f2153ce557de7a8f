"""Settings that are known to train well, for each data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fastgan.data import BUILT_IN, Dataset
from fastgan.data.dataset import is_image
from fastgan.models import image_widths
from fastgan.models.dcgan import dcgan_widths
from fastgan.training.config import ConfigError, TrainConfig

Kind = Literal["points", "images"]


@dataclass(frozen=True)
class Recipe:
    """Networks and settings.

    Attributes:
        generator: widths of the generator's hidden layers.
        discriminator: widths of the discriminator's hidden layers.
        config: settings of the run.
        model: the networks' family, a key of ``fastgan.models.FAMILIES``.
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    config: TrainConfig
    model: str = "mlp"


RECIPES: dict[str, Recipe] = {
    "ring": Recipe(
        generator=(64, 64, 64, 64, 64),
        discriminator=(64, 64, 64, 64),
        config=TrainConfig(
            steps=18_000,
            batch_size=256,
            latent_dim=2,
            learning_rate=2e-3,
            instance_noise=0.4,
            pack=2,
            r1_gamma=0.01,
            penalty_interval=4,
        ),
    ),
    "grid": Recipe(
        generator=(128, 128, 128, 128, 128, 128),
        discriminator=(128, 128, 128, 128),
        config=TrainConfig(
            steps=60_000,
            batch_size=256,
            latent_dim=2,
            learning_rate=1e-3,
            learning_rate_decay=0.5,
            betas=(0.0, 0.99),
            instance_noise=2.0,
            r1_gamma=0.3,
            penalty_interval=4,
        ),
    ),
    "digits": Recipe(
        generator=(128, 256),
        discriminator=(256, 128),
        config=TrainConfig(
            steps=10_000, batch_size=128, latent_dim=32, learning_rate=5e-4, instance_noise=0.5
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


# for images; docs/experiments/began.md explains the choice
_BEGAN = Recipe(
    generator=(64, 256),
    discriminator=(256, 64),
    config=TrainConfig(
        steps=10_000,
        batch_size=128,
        latent_dim=64,
        learning_rate=1e-3,
        objective="began",
        diversity_ratio=0.9,
        balance_rate=0.1,
        threads=1,
    ),
    model="autoencoder",
)
BEGAN: dict[str, Recipe] = {
    "mnist": _BEGAN,
    # with a code as wide as these images D reconstructs anything, and G collapses (see the same page)
    "digits": replace(_BEGAN, discriminator=(256, 4), config=replace(_BEGAN.config, latent_dim=8)),
}


# objective, rates and penalties as in Huang et al., 2025, who choose gamma for each data set; a step takes
# two thirds of the time if only every fourth one has penalties
_R3GAN = TrainConfig(
    steps=25_000,
    batch_size=64,
    latent_dim=64,
    objective="relativistic",
    learning_rate=2e-4,
    betas=(0.0, 0.99),
    penalty_interval=4,
)
PUBLISHED: dict[str, dict[Kind, Recipe]] = {
    "pacgan": {
        "points": Recipe(
            generator=(400, 400, 400, 400),
            discriminator=(200, 200, 200),
            config=TrainConfig(
                steps=400_000,
                batch_size=100,
                latent_dim=2,
                learning_rate=1e-4,
                learning_rate_decay=0.0,
                betas=(0.8, 0.999),
                ema_decay=0.0,
                update="simultaneous",
                threads=1,
            ),
            model="pacgan",
        ),
    },
    "goodfellow2014": {
        "images": Recipe(
            generator=(1200, 1200),
            discriminator=(240, 240),
            config=TrainConfig(
                steps=125_000,
                batch_size=100,
                latent_dim=100,
                latent="uniform",
                optimizer="sgd",
                learning_rate=0.1,
                discriminator_learning_rate=0.05,  # their D minimizes half the sum of its losses
                learning_rate_decay=0.0,
                learning_rate_half_life=173_287,  # a factor of 1.000004 per step
                momentum=(0.5, 0.7),
                momentum_steps=125_000,  # 250 epochs of 50,000 images
                ema_decay=0.0,
                update="simultaneous",
            ),
            model="goodfellow",
        ),
    },
    # the plain GAN with which Metz et al., 2017, compare: for points as in their appendix, for images as
    # repeated by the authors of PacGAN, with a quarter of G's channels in D
    "unrolled": {
        "points": Recipe(
            generator=(128, 128),
            discriminator=(128,),
            config=TrainConfig(
                steps=25_000,
                batch_size=512,
                latent_dim=256,
                generator_loss="saturating",
                learning_rate=1e-4,
                learning_rate_decay=0.0,
                betas=(0.5, 0.999),
                ema_decay=0.0,
                threads=1,
            ),
            model="unrolled",
        ),
        "images": Recipe(
            generator=(64, 32, 16, 8),
            discriminator=(2, 4, 8),
            config=TrainConfig(
                steps=500_000,
                batch_size=128,
                latent_dim=256,
                learning_rate=1e-4,
                discriminator_learning_rate=2e-4,
                learning_rate_decay=0.0,
                betas=(0.5, 0.99),
                ema_decay=0.0,
                threads=1,
            ),
            model="unrolled",
        ),
    },
    # narrower networks and a shorter run than those of Huang et al., 2025; docs/experiments/stacked.md
    "r3gan-stacked": {
        "images": Recipe(
            generator=(64, 32, 16),
            discriminator=(16, 32, 64),
            config=replace(
                _R3GAN,
                steps=5_000,
                batch_size=32,
                learning_rate=5e-4,
                ema_decay=0.99,
                r1_gamma=20.0,
                r2_gamma=20.0,
                threads=1,
            ),
            model="r3gan",
        ),
    },
}
"""Recipes from papers, by name and kind of samples."""


def published_recipe(name: str, data: Dataset) -> Recipe:
    """A recipe from a paper.

    Raises:
        ConfigError: if there is no recipe of that name for such data.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"recipe is {name!r}, expected {', '.join(PUBLISHED)}")
    recipes = PUBLISHED[name]
    kind: Kind = "images" if is_image(data.shape) else "points"
    if kind not in recipes:
        raise ConfigError(
            f"recipe is {name!r}, which is for {' or '.join(recipes)}, and {data.name} has samples of "
            "another kind"
        )
    return recipes[kind]


_SMALL = 32  # largest side of an image for an MLP


def recipe_for(data: Dataset, objective: str | None = None, model: str | None = None) -> Recipe:
    """The recipe for a data set. Data of one's own get that of ring (points), dcgan or mnist (images).

    Args:
        data: the data to train on.
        objective: the requested objective.
        model: ``"mlp"``, for images ``"dcgan"``, ``"stylegan2"`` or ``"r3gan"``, or None. None means dcgan
            for RGB images of one's own, as an MLP cannot learn photos; and mlp if they are small and their
            size cannot be halved.

    Raises:
        ConfigError: if there is no such model, or no recipe of the objective or model for such data.
    """
    if model is not None and model in _OF_IMAGES:
        return _of_images(data, model)
    if model not in ("mlp", None):
        known = " or ".join(("mlp", *_OF_IMAGES))
        raise ConfigError(f"model is {model!r}, expected {known}")
    if model is None and objective != "began" and _are_photos(data):
        return _of_images(data, "dcgan")
    if objective == "began":
        if not is_image(data.shape):
            raise ConfigError(f"objective is 'began', whose recipe is for images, and {data.name} has points")
        return BEGAN.get(data.name, BEGAN["mnist"])
    if data.name in RECIPES:
        return RECIPES[data.name]
    if is_image(data.shape):
        return RECIPES["mnist"]
    ring = RECIPES["ring"]
    # with a latent dimension below the number of axes, samples would lie on a surface
    latent_dim = max(ring.config.latent_dim, *data.shape)
    return replace(ring, config=replace(ring.config, latent_dim=latent_dim))


def _are_photos(data: Dataset) -> bool:
    if data.name in BUILT_IN or not is_image(data.shape) or data.shape[0] == 1:
        return False
    try:
        dcgan_widths(data.shape)
    except ValueError:
        return max(data.shape[1:]) > _SMALL  # _dcgan then raises with sizes that can be halved
    return True


def _of_images(data: Dataset, model: str) -> Recipe:
    if not is_image(data.shape):
        raise ConfigError(f"model is {model!r}, which is for images, and {data.name} has points")
    try:
        return _OF_IMAGES[model](data.shape)
    except ValueError as error:
        raise ConfigError(f"model is {model!r}, and {data.name}: {error}") from None


def _dcgan(shape: Sequence[int]) -> Recipe:
    """Learning rate, betas and widths as in Radford et al., 2016."""
    # half the published channels are enough for grey images and take a quarter of the time
    widths = dcgan_widths(shape, first=32 if shape[0] == 1 else 64)
    config = TrainConfig(steps=5_000, batch_size=64, latent_dim=100, learning_rate=2e-4, ema_decay=0.99)
    return Recipe(generator=widths[::-1], discriminator=widths, config=config, model="dcgan")


def _stylegan2(shape: Sequence[int]) -> Recipe:
    """Rates and R1 as StyleGAN2-ADA sets them for an image's size (Karras et al., 2020, arXiv:2006.06676).

    As there for CIFAR-10, styles are not mixed, and path lengths not regularized.
    """
    widths = image_widths(shape, _first(shape))
    batch_size = 32
    config = TrainConfig(
        steps=25_000,
        batch_size=batch_size,
        latent_dim=512,
        learning_rate=2.5e-3,
        learning_rate_decay=0.0,
        betas=(0.0, 0.99),
        r1_gamma=2e-4 * math.prod(shape[1:]) / batch_size,
        penalty_interval=16,
    )
    return Recipe(generator=widths[::-1], discriminator=widths, config=config, model="stylegan2")


def _r3gan(shape: Sequence[int]) -> Recipe:
    """Narrower than the networks of Huang et al., 2025, with half as many blocks."""
    widths = image_widths(shape, _first(shape))
    # near the best of those tried on digits: 0.1, 0.8 and 10 for 8 x 8 pixels, 0.1 to 50 for 28 x 28
    gamma = min(10.0, (math.prod(shape[1:]) / 256) ** 2)
    config = replace(_R3GAN, r1_gamma=gamma, r2_gamma=gamma)
    return Recipe(generator=widths[::-1], discriminator=widths, config=config, model="r3gan")


def _first(shape: Sequence[int]) -> int:
    """Channels of the largest map."""
    return 16 if shape[0] == 1 else 32


_OF_IMAGES: dict[str, Callable[[Sequence[int]], Recipe]] = {
    "dcgan": _dcgan,
    "stylegan2": _stylegan2,
    "r3gan": _r3gan,
}
"""Recipes of networks for images, given the shape of an image."""
