"""Stacked MNIST: modes and reverse KL of R3GAN and of a DCGAN, over seeds.

python -m experiments.stacked --data-dir mnist
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Any

from experiments import markdown
from experiments.mode_collapse import run
from experiments.mode_collapse_report import Seed, cell, measures
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
from experiments.thumbnails import images_of
from fastgan.data import Dataset
from fastgan.data.mnist import mnist
from fastgan.data.stacked import stack
from fastgan.plots.figure import new_figure, save_figure
from fastgan.plots.samples import draw_images
from fastgan.training.recipes import Recipe, published_recipe, recipe_for
from fastgan.training.run_config import RunConfig

NAME = "stacked"
_PUBLISHED = "1,000 modes, reverse KL 0.029"  # Huang et al., 2025, table 1, without a standard deviation


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=3)
    parser.add_argument("--networks", nargs="+", choices=("r3gan", "dcgan"), default=["r3gan", "dcgan"])
    data_dir(parser)
    options = parser.parse_args()
    labelled = mnist(options.data_dir).labelled
    if labelled is None:
        raise ValueError(f"{options.data_dir}: holds no labels of the training images; add them")
    data = stack(labelled)
    recipes = {"r3gan": published_recipe("r3gan-stacked", data), "dcgan": _dcgan(data)}
    for name in options.networks:
        recipe = recipes[name]
        run_seeds(options.out / folder_name(name), asdict(recipe), options.seeds, partial(run, data, recipe))
    stored = {
        name: stored_seeds(options.out / folder_name(name), asdict(recipe))
        for name, recipe in recipes.items()
    }
    stored = {name: seeds for name, seeds in stored.items() if seeds}
    figure = new_figure(4 * len(stored), 4.3)
    for axes, (name, seeds) in zip(
        figure.subplots(1, len(stored), squeeze=False)[0], stored.items(), strict=True
    ):
        draw_images(axes, images_of(next(iter(seeds.values()))["samples"], data.shape), f"{name}, first seed")
    save_figure(figure, options.out / PICTURE)
    runs = {name: _described(data, recipes[name], seeds) for name, seeds in stored.items()}
    write_result(options.out, NAME, {"runs": runs}, tables)


def _described(data: Dataset, recipe: Recipe, seeds: Mapping[int, Seed]) -> dict[str, Any]:
    networks = RunConfig.of(data.name, data, recipe)
    built = networks.build_generator(), networks.build_discriminator()
    return {
        "steps": recipe.config.steps,
        "batch_size": recipe.config.batch_size,
        "parameters": [sum(p.numel() for p in network.parameters()) for network in built],
        "seeds": measures(seeds),
    }


def _dcgan(data: Dataset) -> Recipe:
    """The recipe with half of its channels, on one thread."""
    recipe = recipe_for(data, model="dcgan")
    return replace(
        recipe,
        generator=tuple(width // 2 for width in recipe.generator),
        discriminator=tuple(width // 2 for width in recipe.discriminator),
        config=replace(recipe.config, threads=1),
    )


def tables(result: Mapping[str, Any]) -> list[str]:
    """A row for each network: its size, modes, reverse KL, and CPU time of a run."""
    titles = [
        *("", "parameters of G", "of D", "steps", "batch", "seeds"),
        *("modes of 1,000", "reverse KL", "minutes on one core", "published"),
    ]
    rows = [
        [
            name,
            *(f"{number:,}" for number in (*found["parameters"], found["steps"], found["batch_size"])),
            str(len(found["seeds"])),
            cell(found["seeds"], "modes"),
            cell(found["seeds"], "reverse_kl"),
            f"{statistics.mean(seed['cpu_seconds'] for seed in found['seeds']) / 60:.0f}",
            _PUBLISHED if name == "r3gan" else "",
        ]
        for name, found in result["runs"].items()
    ]
    accuracy = max(
        seed["classifier_accuracy"] for seed in chain(*(run["seeds"] for run in result["runs"].values()))
    )
    made = [
        markdown.table(titles, rows),
        f"Mean ± standard error over seeds. Accuracy of the classifier of single digits: {accuracy:.1%}.",
    ]
    return [*made, _tried(result["tried"])] if "tried" in result else made


def _tried(runs: Sequence[Mapping[str, Any]]) -> str:
    """Settings tried by hand, as added to result.json."""
    titles = [
        "γ of R1 and R2",
        "learning rate",
        "blocks for each map",
        "batch",
        "steps",
        "modes",
        "reverse KL",
    ]
    keys = ("r1_gamma", "learning_rate", "blocks", "batch_size", "steps", "modes", "reverse_kl")
    return markdown.table(titles, [[markdown.number(run[key], 3) for key in keys] for run in runs])


if __name__ == "__main__":
    main()
