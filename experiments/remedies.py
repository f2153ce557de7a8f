"""Remedies of mode collapse, and the protocols of experiments.mode_collapse to measure them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastgan.data import Dataset
from fastgan.data.digits import digits
from fastgan.data.mnist import mnist
from fastgan.data.stacked import stack
from fastgan.data.synthetic import grid, ring
from fastgan.data.transform import Transform
from fastgan.training import TrainConfig
from fastgan.training.recipes import PUBLISHED, Recipe

_TRAINED_ON = 100_000  # samples drawn once, as in PacGAN
_PENALTY = {"r1_gamma": 0.1, "penalty_interval": 4}
_NOISE = {"ring": 0.4, "grid": 0.6, "stacked": 0.5}  # in the data's units

SAMPLES = {"ring": 2_500, "grid": 2_500, "stacked": 25_600}
"""The number of samples to measure, as in VEEGAN for points and in Unrolled GAN for digits."""

REMEDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pack 2": {"pack": 2},
    "R1": _PENALTY,
    "label smoothing": {"real_label": 0.9},
    "instance noise": {},
    "relativistic, R1 and R2": {
        "objective": "relativistic",
        "generator_loss": "non-saturating",  # the only one of this objective
        "r2_gamma": 0.1,
        **_PENALTY,
    },
}


@dataclass(frozen=True)
class Protocol:
    """Data, training and published figures to measure a remedy with.

    Attributes:
        words: description for tables, with ``{length}`` for the steps of a run.
        steps: steps of the full protocol, by data; empty if runs are not shortened.
        data: by name, functions that load the data, given the folder of MNIST or None.
        recipe: returns the recipe without any remedy, given the name of the data.
        published: published figures, by data and remedy.
        published_as: note on the published figures.
    """

    words: str
    steps: Mapping[str, int]
    data: Mapping[str, Callable[[Path | None], Dataset]]
    recipe: Callable[[str], Recipe]
    published: Mapping[tuple[str, str], str]
    published_as: str = ""


def settings_of(recipe: Recipe, data: Dataset, remedy: str) -> dict[str, Any]:
    """The settings that a remedy changes in a recipe."""
    if remedy == "instance noise":
        return {"instance_noise": _NOISE[data.name] / data.transform.scale[0]}
    settings = REMEDIES[remedy]
    packs = settings.get("pack", 1)
    return {**settings, "batch_size": packs * recipe.config.batch_size}  # keeps the number of packs


def _shortened(recipe: Recipe, part: int) -> Recipe:
    return replace(recipe, config=replace(recipe.config, steps=recipe.config.steps // part))


def _unrolled(name: str) -> Recipe:
    recipes = PUBLISHED["unrolled"]
    return _shortened(recipes["images"], 20) if name == "stacked" else recipes["points"]


def _small(name: str) -> Recipe:
    config = TrainConfig(steps=20_000, batch_size=256, latent_dim=2, learning_rate=1e-3, threads=1)
    if name == "stacked":
        return Recipe(generator=(128, 256), discriminator=(256, 128), config=replace(config, latent_dim=32))
    width = {"ring": 64, "grid": 128}[name]
    return Recipe(generator=(width,) * 4, discriminator=(width,) * 4, config=config)


def _magnified(data: Dataset, factor: float) -> Dataset:
    """The data with a transform that scales points up by ``factor`` for the networks."""
    return data.under(Transform((data.transform.scale[0] / factor,)))


def _stacked(single: Dataset) -> Dataset:
    assert single.labelled is not None
    return stack(single.labelled)


PROTOCOLS = {
    "pacgan": Protocol(
        words="PacGAN's protocol with {length}",
        steps={"ring": 400_000, "grid": 400_000},
        data={"ring": lambda _: ring(0.01, _TRAINED_ON), "grid": lambda _: grid(1.0, _TRAINED_ON)},
        recipe=lambda _: _shortened(PUBLISHED["pacgan"]["points"], 10),
        published={
            ("ring", "plain"): "6.3 ± 0.5 modes, 98.2 %, 0.45",
            ("ring", "pack 2"): "7.9 ± 0.1 modes, 95.6 %, 0.07",
            ("grid", "plain"): "17.3 ± 0.8 modes, 94.8 %, 0.70",
            ("grid", "pack 2"): "23.8 ± 0.7 modes, 91.3 %, 0.13",
        },
        published_as="400,000 steps",
    ),
    "unrolled": Protocol(
        words="Unrolled GAN's protocol with {length}",
        steps={"ring": 25_000, "stacked": 500_000},
        data={
            "ring": lambda _: _magnified(ring(0.01, _TRAINED_ON), 2),
            "stacked": lambda folder: _stacked(mnist(folder)),
        },
        recipe=_unrolled,
        published={("stacked", "plain"): "30.6 ± 20.7 modes, 5.99 ± 0.42"},
        published_as="± standard deviation",
    ),
    "small": Protocol(
        words="small networks, {length}, learning rate falling to 0, averaged generator",
        steps={},
        data={"ring": lambda _: ring(), "grid": lambda _: grid(), "stacked": lambda _: _stacked(digits())},
        recipe=_small,
        published={},
    ),
}
