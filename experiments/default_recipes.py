"""The recipes of ring and grid over seeds: the results to expect of ``fastgan train``.

python -m experiments.default_recipes --data ring grid
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from experiments import markdown
from experiments.record import arguments, command, run_seeds, stored_seeds, write_result
from fastgan.data import load
from fastgan.metrics import mode_coverage, reverse_kl
from fastgan.training import Trainer
from fastgan.training.recipes import RECIPES, Recipe
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample

NAME = "default_recipes"
DATA = ("ring", "grid")
_SAMPLES = 10_000


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=10)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="which to run")
    options = parser.parse_args()
    for name in options.data:
        recipe = RECIPES[name]
        run_seeds(options.out / name, asdict(recipe), options.seeds, partial(run, name, recipe))
    stored = {name: stored_seeds(options.out / name, asdict(RECIPES[name])) for name in DATA}
    results = {
        name: [{"seed": seed, **row} for seed, row in rows.items()] for name, rows in stored.items() if rows
    }
    write_result(options.out, NAME, {"results": results}, tables)


def run(name: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one seed as ``fastgan train`` does, and measure 10,000 samples of the averaged generator."""
    data = load(name)
    assert data.modes is not None
    networks = RunConfig.of(name, data, replace(recipe, config=replace(recipe.config, seed=seed)))
    torch.manual_seed(seed)
    begun, begun_of_cpu = time.perf_counter(), time.process_time()
    trainer = Trainer(networks.build_generator(), networks.build_discriminator(), networks.training)
    state = trainer.fit(data)
    seconds, of_cpu = time.perf_counter() - begun, time.process_time() - begun_of_cpu
    coverage = mode_coverage(
        data.transform.inverse(sample(state.average, _SAMPLES, recipe.config.latent_dim, 0)), data.modes
    )
    return {
        "modes": coverage.modes,
        "covered": coverage.covered,
        "high_quality": coverage.high_quality,
        "reverse_kl": reverse_kl(coverage.counts),
        "fewest": min(coverage.counts),
        "most": max(coverage.counts),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(of_cpu, 1),
    }


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table per data set with a row per seed, and one with a row per other setting, if any was tried."""
    found = []
    for name, rows in result["results"].items():
        found.append(_by_seed(rows))
        if tried := result.get("changes", {}).get(name):
            found.append(_by_change({"none": rows, **tried}))
    return found


def _by_seed(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            str(row["seed"]),
            f"{row['covered']} of {row['modes']}",
            f"{100 * row['high_quality']:.1f} %",
            f"{row['reverse_kl']:.3f}",
            f"{row['fewest']:,}–{row['most']:,}",
            f"{row['cpu_seconds']:.0f}",
        ]
        for row in rows
    ]
    titles = ["seed", "modes", "high quality", "reverse KL", "samples in a mode", "CPU seconds of training"]
    return markdown.table(titles, cells)


def _by_change(changes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row per change: smallest and largest values over its seeds."""
    cells = []
    for change, rows in changes.items():
        column = {name: [row[name] for row in rows] for name in rows[0]}
        cells.append(
            [
                change,
                _seeds(column["seed"]),
                markdown.span(column["covered"]),
                markdown.span((100 * share for share in column["high_quality"]), "{:.1f}".format) + " %",
                markdown.span(column["reverse_kl"], "{:.3f}".format),
                f"{min(column['fewest']):,}",
            ]
        )
    titles = ["change", "seeds", "modes", "high quality", "reverse KL", "fewest samples in a mode"]
    return markdown.table(titles, cells)


def _seeds(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    whole = len(seeds) > 2 and list(seeds) == list(range(first, last + 1))
    return f"{first}–{last}" if whole else ", ".join(map(str, seeds))


if __name__ == "__main__":
    main()
