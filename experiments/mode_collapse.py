"""Mode collapse and its remedies over seeds, by a published or a short protocol (docs/experiments).

python -m experiments.mode_collapse --protocol small --seeds 0 1 2
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.mode_collapse_report import draw, measures, tables
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
from experiments.remedies import PROTOCOLS, REMEDIES, SAMPLES, settings_of
from experiments.thumbnails import thumbnails
from fastgan.data import Dataset
from fastgan.metrics import mode_coverage, reverse_kl
from fastgan.metrics.classifier import mode_shares, train_classifier
from fastgan.training import Trainer
from fastgan.training.recipes import Recipe
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample

NAME = "mode_collapse"


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=3)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="pacgan")
    parser.add_argument(
        "--steps", type=int, help="of each run, in a separate folder; default: the protocol's"
    )
    parser.add_argument(
        "--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES), help="which to run"
    )
    parser.add_argument(
        "--data", nargs="+", choices=SAMPLES, help="which to run; default: all of the protocol"
    )
    data_dir(parser)
    options = parser.parse_args()
    protocol = PROTOCOLS[options.protocol]
    if unknown := set(options.data or ()) - set(protocol.data):
        raise ValueError(
            f"--data is {', '.join(sorted(unknown))}, expected {', '.join(protocol.data)} "
            f"with --protocol {options.protocol}"
        )
    length = "" if options.steps is None else f"-{options.steps}-steps"
    out = options.out / f"{options.protocol}{length}"
    wanted = options.data or protocol.data
    data = {
        name: read(options.data_dir)  # only if used: some are large or have to be downloaded
        for name, read in protocol.data.items()
        if name in wanted or any(out.glob(f"{name}-*/seed-*.json"))
    }
    recipes = {
        (name, remedy): with_remedy(protocol.recipe(name), data[name], remedy, options.steps)
        for name, remedy in product(data, REMEDIES)
    }
    for name, remedy in product(wanted, options.remedies):
        recipe = recipes[name, remedy]
        run_seeds(
            folder_of(out, name, remedy), asdict(recipe), options.seeds, partial(run, data[name], recipe)
        )
    results, pictured = {}, {}
    for name in data:
        stored = {
            remedy: stored_seeds(folder_of(out, name, remedy), asdict(recipes[name, remedy]))
            for remedy in REMEDIES
        }
        by_remedy = {remedy: seeds for remedy, seeds in stored.items() if seeds}
        if by_remedy:
            measured = {remedy: measures(seeds) for remedy, seeds in by_remedy.items()}
            results[name] = {"steps": recipes[name, "plain"].config.steps, "remedies": measured}
            firsts = {remedy: next(iter(seeds.values())) for remedy, seeds in by_remedy.items()}
            pictured[name] = data[name], firsts
    draw(out / PICTURE, pictured)
    write_result(out, NAME, {"protocol": options.protocol, "results": results}, tables)


def with_remedy(recipe: Recipe, data: Dataset, remedy: str, steps: int | None) -> Recipe:
    """A protocol's recipe with a remedy. ``steps`` replaces the recipe's steps unless None."""
    settings = settings_of(recipe, data, remedy)
    if steps is not None:
        settings["steps"] = steps
    return replace(recipe, config=replace(recipe.config, **settings))


def folder_of(out: Path, name: str, remedy: str) -> Path:
    return out / folder_name(f"{name} {remedy}")


def run(data: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one seed and measure samples of the generator."""
    networks = RunConfig.of(data.name, data, replace(recipe, config=replace(recipe.config, seed=seed)))
    torch.manual_seed(seed)
    begun = time.process_time()
    trainer = Trainer(networks.build_generator(), networks.build_discriminator(), networks.training)
    state = trainer.fit(data)
    seconds = time.process_time() - begun
    samples = data.transform.inverse(
        sample(state.average, SAMPLES[data.name], recipe.config.latent_dim, seed)
    )
    return {**measure(data, samples), "cpu_seconds": round(seconds, 1), "samples": thumbnails(samples)}


def measure(data: Dataset, samples: Tensor) -> dict[str, Any]:
    """The protocol's measures of samples, which are in the data's units."""
    return _by_class(data, samples) if data.modes is None else _by_place(data, samples)


def _by_place(data: Dataset, samples: Tensor) -> dict[str, Any]:
    """Assigns samples to the nearest mode of the data's distribution."""
    assert data.modes is not None
    coverage = mode_coverage(samples, data.modes)
    return {
        "modes": coverage.covered,
        "high_quality": coverage.high_quality,
        "reverse_kl": reverse_kl(coverage.counts) if any(coverage.counts) else None,
        "counts": coverage.counts,
    }


_classifier = lru_cache(maxsize=1)(train_classifier)


def _by_class(data: Dataset, samples: Tensor) -> dict[str, Any]:
    """Assigns samples of stacked digits to the number that a classifier reads."""
    assert data.labelled is not None
    classifier = _classifier(data.labelled)
    stacked = samples.shape[1] // data.labelled.images.shape[1]
    shares = mode_shares(data.labelled.labels, classifier.classes, stacked)
    counts = torch.bincount(classifier.modes(samples), minlength=len(shares))
    return {
        "modes": int((counts > 0).sum()),
        "reverse_kl": reverse_kl(counts, shares),
        "classifier_accuracy": float(classifier.accuracy),
        "counts": " ".join(map(str, counts.tolist())),
    }


if __name__ == "__main__":
    main()
