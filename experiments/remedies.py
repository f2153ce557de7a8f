"""Remedies of mode collapse, and the protocols that experiments.mode_collapse measures them by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fastgan.data import Dataset, load
from fastgan.data.synthetic import grid, ring
from fastgan.training import TrainConfig
from fastgan.training.recipes import PUBLISHED, Recipe

_TRAINED_ON = 100_000  # of PacGAN's samples, drawn once
_PENALTY = {"r1_gamma": 0.1, "r1_interval": 4}
_NOISE = {"ring": 0.4, "grid": 0.6}  # in the data's units

DATA = tuple(_NOISE)
REMEDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pack 2": {"pack": 2},
    "R1": _PENALTY,
    "label smoothing": {"real_label": 0.9},
    "instance noise": {},
    "relativistic, R1 and R2": {"objective": "relativistic", "r2_gamma": 0.1, **_PENALTY},
}


@dataclass(frozen=True)
class Protocol:
    """How a remedy is measured.

    Attributes:
        words: what a table says of it, with ``{steps}`` for those of a run.
        data: from "ring" or "grid" to the samples.
        recipe: from the same to what trains without any remedy.
        published: by data and remedy: modes, high quality and reverse KL, as published.
    """

    words: str
    data: Callable[[str], Dataset]
    recipe: Callable[[str], Recipe]
    published: dict[tuple[str, str], str]


def settings_of(recipe: Recipe, data: Dataset, remedy: str) -> dict[str, Any]:
    """What a remedy changes in a recipe."""
    if remedy == "instance noise":
        return {"instance_noise": _NOISE[data.name] / data.scale}
    settings = REMEDIES[remedy]
    packs = settings.get("pack", 1)
    return {**settings, "batch_size": packs * recipe.config.batch_size}  # as many packs as else samples


def _shortened_pacgan(name: str) -> Recipe:
    recipe = PUBLISHED["pacgan"]
    return replace(recipe, config=replace(recipe.config, steps=recipe.config.steps // 10))


def _small(name: str) -> Recipe:
    width = {"ring": 64, "grid": 128}[name]
    config = TrainConfig(steps=20_000, batch_size=256, latent_dim=2, learning_rate=1e-3, threads=1)
    return Recipe(generator=(width,) * 4, discriminator=(width,) * 4, config=config)


PROTOCOLS = {
    "pacgan": Protocol(
        words="PacGAN's protocol with {steps:,} of its 400,000 steps",
        data=lambda name: ring(0.01, _TRAINED_ON) if name == "ring" else grid(1.0, _TRAINED_ON),
        recipe=_shortened_pacgan,
        published={
            ("ring", "plain"): "6.3 ± 0.5 modes, 98.2 %, 0.45",
            ("ring", "pack 2"): "7.9 ± 0.1 modes",
            ("grid", "plain"): "17.3 ± 0.8 modes, 94.8 %, 0.70",
            ("grid", "pack 2"): "23.8 ± 0.7 modes",
        },
    ),
    "small": Protocol(
        words="small networks, {steps:,} steps, learning rate falling to 0, averaged generator",
        data=load,
        recipe=_small,
        published={},
    ),
}
