"""BEGAN's k: when it stays at 0, and the quality of samples for each balance.

python -m experiments.began                                  # continues where it was stopped
python -m experiments.began --settings "γ 0.9"               # runs only this; tables and picture show all
python -m experiments.began --data digits
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.began_report import PIXELS, Curves, draw, summary, tables
from experiments.record import (
    PICTURE,
    arguments,
    command,
    data_dir,
    folder_name,
    run_seeds,
    stored_seeds,
    write_result,
)
from experiments.thumbnails import images_of, thumbnails
from fastgan.data import Dataset, load
from fastgan.metrics.suite import compare
from fastgan.training import Callback, TrainConfig, Trainer
from fastgan.training.recipes import BEGAN, Recipe
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

NAME = "began"
_EVALUATED = 5_000
_STEPS = 4_000


@dataclass(frozen=True)
class Setting:
    """Changes to the paper's γ = 0.5, λ = 0.001 and Adam at 10⁻⁴ on two small networks.

    Attributes:
        config: changes to the configuration of training.
        encoder: widths of the autoencoder's encoder. The generator has the widths of its decoder.
        unit: pixels in [0, 1] instead of [-1, 1].
        plain_start: PyTorch's initial weights instead of He et al.'s.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    encoder: tuple[int, ...] = (256, 64)
    unit: bool = False
    plain_start: bool = False


SETTINGS: dict[str, Setting | Recipe] = {
    "paper": Setting(),
    "learning rate 0.001": Setting({"learning_rate": 1e-3}),
    "pixels in [0, 1]": Setting(unit=True),
    "PyTorch's initial weights": Setting(plain_start=True),
    "code of 16": Setting(encoder=(256, 16)),
    "larger autoencoder": Setting(encoder=(512, 256, 128)),
    "γ 0.3": Setting({"diversity_ratio": 0.3}),
    "γ 0.7": Setting({"diversity_ratio": 0.7}),
    "γ 0.9": Setting({"diversity_ratio": 0.9}),
    "λ 0.1": Setting({"balance_rate": 0.1}),
    "λ 0.1, γ 0.9": Setting({"balance_rate": 0.1, "diversity_ratio": 0.9}),
    "λ 0.1, learning rate 0.001": Setting({"balance_rate": 0.1, "learning_rate": 1e-3}),
    "λ 0.1, γ 0.9, learning rate 0.001": Setting(
        {"balance_rate": 0.1, "diversity_ratio": 0.9, "learning_rate": 1e-3}
    ),
    "recipe": BEGAN["mnist"],
    "recipe of digits": BEGAN["digits"],
    "recipe, code of 16": replace(BEGAN["mnist"], discriminator=(256, 16)),
}


def _noise(data: Dataset, seed: int) -> Tensor:
    return 2 * torch.rand(_EVALUATED, *data.shape, generator=torch.Generator().manual_seed(seed)) - 1


def _untrained(data: Dataset, seed: int) -> Tensor:
    torch.manual_seed(seed)
    generator = RunConfig.of(data.name, data, BEGAN["mnist"]).build_generator()
    return sample(generator, _EVALUATED, BEGAN["mnist"].config.latent_dim, seed)


FLOORS: dict[str, Callable[[Dataset, int], Tensor]] = {
    "uniform noise": _noise,
    "untrained generator": _untrained,
}
"""Samples without any training, measured like the others."""

RUN_ON = {
    "mnist": [*(name for name in SETTINGS if name != "recipe of digits"), *FLOORS],
    "digits": ["recipe", "recipe of digits", "recipe, code of 16", *FLOORS],
}
"""The settings to run by default."""

GROUPS = {
    "networks and start": (
        "paper",
        "pixels in [0, 1]",
        "PyTorch's initial weights",
        "code of 16",
        "larger autoencoder",
        "learning rate 0.001",
    ),
    "balance": ("paper", "γ 0.3", "γ 0.7", "γ 0.9"),
    "faster balance": (
        "paper",
        "λ 0.1",
        "λ 0.1, γ 0.9",
        "λ 0.1, learning rate 0.001",
        "λ 0.1, γ 0.9, learning rate 0.001",
    ),
    "recipe": ("λ 0.1, γ 0.9, learning rate 0.001", "recipe", "recipe of digits", "recipe, code of 16"),
}
"""The settings in each panel of the picture."""


class InUnit(nn.Module):
    """Maps a generator's samples from [-1, 1] to [0, 1]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor) -> Tensor:
        samples: Tensor = self.generator(latent)
        return (samples + 1) / 2


class _Log(Callback):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append({"step": row.step, **{name: row.values[name] for name in _KEPT}})


_KEPT = ("k", "M", "L(x)", "loss_G", "diversity")


def recipe_of(setting: Setting | Recipe, steps: int = _STEPS) -> Recipe:
    """The recipe of a setting. ``steps`` does not apply to a setting that is a recipe."""
    if isinstance(setting, Recipe):
        return setting
    config = {
        "steps": steps,
        "batch_size": 64,
        "latent_dim": setting.encoder[-1],
        "learning_rate": 1e-4,
        "objective": "began",
        "threads": 1,
        "log_interval": max(1, steps // 100),
        **setting.config,
    }
    return Recipe(setting.encoder[:-1][::-1], setting.encoder, TrainConfig(**config), "autoencoder")


def train(setting: Setting | Recipe, data: Dataset, steps: int, folder: Path, seed: int) -> dict[str, Any]:
    """Train. Return the log's rows, and samples of the averaged generator with their measures."""
    recipe = recipe_of(setting, steps)
    networks = RunConfig.of(data.name, data, replace(recipe, config=replace(recipe.config, seed=seed)))
    torch.manual_seed(seed)
    generator, discriminator = networks.build_generator(), networks.build_discriminator()
    changes = setting if isinstance(setting, Setting) else Setting()
    if changes.plain_start:
        for layer in (*generator.modules(), *discriminator.modules()):
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    samples = data.samples
    if changes.unit:
        generator, samples = InUnit(generator), (samples + 1) / 2
    log = _Log()
    state = Trainer(generator, discriminator, networks.training, [log]).fit(samples)
    fake = sample(state.average, _EVALUATED, recipe.config.latent_dim, seed, recipe.config.latent)
    if changes.unit:
        fake = 2 * fake - 1
    return {"rows": log.rows, "samples": thumbnails(fake), **compare(data, fake, seed, folder.parent)}


def floor(name: str, data: Dataset, folder: Path, seed: int) -> dict[str, Any]:
    """The measures of samples of one of FLOORS."""
    return {"rows": [], **compare(data, FLOORS[name](data, seed), seed, folder.parent)}


@command
def main() -> None:
    names = [*SETTINGS, *FLOORS]
    parser = arguments(NAME, __doc__)
    parser.add_argument(
        "--settings", nargs="+", choices=names, metavar="SETTING", help="default: those of the page"
    )
    parser.add_argument("--data", choices=RUN_ON, default="mnist")
    parser.add_argument("--steps", type=int, default=_STEPS, help="of each run, except recipes")
    data_dir(parser)
    given = parser.parse_args()
    data = load(given.data, given.data_dir)
    for name in given.settings or RUN_ON[given.data]:
        folder = given.out / given.data / folder_name(name)
        run = (
            partial(floor, name, data, folder)
            if name in FLOORS
            else partial(train, SETTINGS[name], data, given.steps, folder)
        )
        run_seeds(folder, _settings(name, given.steps), given.seeds, run)
    finish(given.out, given.steps)


def finish(out: Path, steps: int) -> None:
    """Write result and picture of all stored runs on both data sets."""
    results = {data: stored(out / data, steps) for data in RUN_ON if (out / data).exists()}
    groups, sheets = {}, {}
    for data, of in results.items():
        firsts = {name: seeds[min(seeds)] for name, seeds in of.items() if name in SETTINGS}
        for title, group in GROUPS.items():
            curves = {name: _curves(name, firsts[name]) for name in group if name in firsts}
            if curves:
                groups[f"{data}, {title}"] = curves
        for name, first in firsts.items():
            sheets[f"{data}\n{name}"] = images_of(first["samples"], (1, *PIXELS[data]))
    if groups:
        draw(out / PICTURE, groups, sheets)
    summaries = {
        data: {name: list(map(summary, seeds.values())) for name, seeds in of.items()}
        for data, of in results.items()
    }
    recipes = {name: described(of) for name, of in SETTINGS.items() if isinstance(of, Recipe)}
    write_result(out, NAME, {"recipes": recipes, **summaries}, tables)


def _curves(name: str, result: Mapping[str, Any]) -> Curves:
    return Curves(result["rows"], recipe_of(SETTINGS[name]).config.diversity_ratio)


def stored(folder: Path, steps: int) -> dict[str, dict[int, dict[str, Any]]]:
    """The stored results of ``train`` and ``floor``, by setting and seed."""
    seeds = {
        name: stored_seeds(folder / folder_name(name), _settings(name, steps))
        for name in (*SETTINGS, *FLOORS)
    }
    return {name: results for name, results in seeds.items() if results}


def described(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a dict, with only those settings that differ from the defaults."""
    defaults = asdict(TrainConfig())
    config = {name: value for name, value in asdict(recipe.config).items() if value != defaults[name]}
    return {**asdict(recipe), "config": config}


def _settings(name: str, steps: int) -> dict[str, Any]:
    """The settings that are stored in a seed's file."""
    if name in FLOORS:
        return {"samples": _EVALUATED}
    setting = SETTINGS[name]
    return {**asdict(setting), **({"steps": steps} if isinstance(setting, Setting) else {})}


if __name__ == "__main__":
    main()
