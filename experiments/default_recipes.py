"""The recipes of ring and grid over seeds: what ``fastgan train`` gives whoever runs it.

python -m experiments.default_recipes --data ring grid
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from experiments.record import arguments, command, run_seeds, stored_seeds, write_result
from fastgan.data import load
from fastgan.files import write_text
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
    results = {name: rows for name, rows in stored.items() if rows}
    write_result(options.out, NAME, {"results": results})
    tables = "\n".join(table(name, rows) for name, rows in results.items())
    write_text(options.out / "table.md", tables)
    print(tables)


def run(name: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one seed as ``fastgan train`` does, and measure 10,000 samples of the averaged generator."""
    data = load(name)
    assert data.modes is not None
    networks = RunConfig.of(name, data, replace(recipe, config=replace(recipe.config, seed=seed)))
    torch.manual_seed(seed)
    begun = time.process_time()
    trainer = Trainer(networks.build_generator(), networks.build_discriminator(), networks.training)
    state = trainer.fit(data)
    seconds = time.process_time() - begun
    coverage = mode_coverage(
        data.transform.inverse(sample(state.average, _SAMPLES, recipe.config.latent_dim, 0)), data.modes
    )
    return {
        "modes": coverage.modes,
        "covered": coverage.covered,
        "high_quality": coverage.high_quality,
        "reverse_kl": reverse_kl(coverage.counts),
        "counts": coverage.counts,
        "cpu_seconds": round(seconds, 1),
    }


def table(name: str, rows: Mapping[int, Mapping[str, Any]]) -> str:
    """Markdown, a seed a line."""
    lines = [
        f"`fastgan train {name}`, {_SAMPLES:,} samples of the averaged generator",
        "",
        "| seed | modes | high quality | reverse KL | fewest and most samples in a mode |",
        "|---|---|---|---|---|",
    ]
    for seed, row in rows.items():
        lines.append(
            f"| {seed} | {row['covered']} of {row['modes']} | {row['high_quality']:.1%} "
            f"| {row['reverse_kl']:.3f} | {min(row['counts'])}, {max(row['counts'])} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
