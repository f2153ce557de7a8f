"""Mode collapse and its remedies over seeds, by PacGAN's protocol or by a short one (docs/experiments).

python -m experiments.mode_collapse --protocol small --seeds 0 1 2
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from experiments.record import arguments, command, run_seeds, stored_seeds, write_result
from experiments.remedies import DATA, PROTOCOLS, REMEDIES, Protocol, settings_of
from fastgan.data import Dataset
from fastgan.files import write_text
from fastgan.metrics import mode_coverage, reverse_kl
from fastgan.plots.figure import GENERATED, REAL, new_figure, open_axes, save_figure
from fastgan.training import Trainer
from fastgan.training.recipes import Recipe
from fastgan.training.run import RunConfig
from fastgan.training.sampling import sample

NAME = "mode_collapse"
_METRIC_SAMPLES = 2_500
_PICTURED = 1_000

Seeds = list[dict[str, Any]]
"""What :func:`run` returned for each."""


@command
def main() -> None:
    parser = arguments(NAME, __doc__, seeds=3)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="pacgan")
    parser.add_argument(
        "--steps", type=int, help="of each run, into a folder of their own; else the protocol's"
    )
    parser.add_argument(
        "--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES), help="which to run"
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="which to run")
    options = parser.parse_args()
    protocol = PROTOCOLS[options.protocol]
    length = "" if options.steps is None else f"-{options.steps}-steps"
    out = options.out / f"{options.protocol}{length}"
    data = {name: protocol.data(name) for name in DATA}
    recipes = {
        (name, remedy): with_remedy(protocol.recipe(name), data[name], remedy, options.steps)
        for name, remedy in product(DATA, REMEDIES)
    }
    for name, remedy in product(options.data, options.remedies):
        recipe = recipes[name, remedy]
        run_seeds(
            folder_of(out, name, remedy), asdict(recipe), options.seeds, partial(run, data[name], recipe)
        )
    lines, summaries, pictured = [], {}, {}
    for name in DATA:
        stored = {
            remedy: stored_seeds(folder_of(out, name, remedy), asdict(recipes[name, remedy]))
            for remedy in REMEDIES
        }
        results = {remedy: list(seeds.values()) for remedy, seeds in stored.items() if seeds}
        if results:
            summaries[name] = {remedy: summary(seeds) for remedy, seeds in results.items()}
            pictured[name] = data[name], results
            lines += [*table(name, protocol, recipes[name, "plain"].config.steps, summaries[name]), ""]
    write_result(out, NAME, {"protocol": options.protocol, "results": summaries})
    write_text(out / "table.md", "\n".join(lines))
    draw(out / "samples.png", pictured)
    print("\n".join(lines))


def with_remedy(recipe: Recipe, data: Dataset, remedy: str, steps: int | None) -> Recipe:
    """A protocol's recipe with a remedy, and for so many steps if any are given."""
    settings = settings_of(recipe, data, remedy)
    if steps is not None:
        settings["steps"] = steps
    return replace(recipe, config=replace(recipe.config, **settings))


def folder_of(out: Path, name: str, remedy: str) -> Path:
    return out / f"{name}-{remedy.replace(',', '').replace(' ', '-')}"


def run(data: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one seed and measure 2,500 samples of the generator."""
    networks = RunConfig.of(data.name, data, replace(recipe, config=replace(recipe.config, seed=seed)))
    torch.manual_seed(seed)
    begun = time.process_time()
    trainer = Trainer(networks.build_generator(), networks.build_discriminator(), networks.training)
    state = trainer.fit(data)
    seconds = time.process_time() - begun
    samples = sample(state.average, _METRIC_SAMPLES, recipe.config.latent_dim, seed) * data.scale
    coverage = mode_coverage(samples, data.modes)  # type: ignore[arg-type]
    return {
        "modes": coverage.covered,
        "high_quality": coverage.high_quality,
        "reverse_kl": reverse_kl(coverage.counts) if any(coverage.counts) else None,
        "counts": coverage.counts,
        "cpu_seconds": round(seconds, 1),
        # a line for each coordinate: as lists they would be four thousand
        "samples": [" ".join(f"{x:.4g}" for x in axis) for axis in samples[:_PICTURED].t().tolist()],
    }


def summary(seeds: Seeds) -> dict[str, Any]:
    """Mean and standard error over seeds of each measure; reverse KL over those where it is defined."""
    result: dict[str, Any] = {"seeds": len(seeds)}
    for measure in ("modes", "high_quality", "reverse_kl"):
        values = [float(seed[measure]) for seed in seeds if seed[measure] is not None]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        result[measure] = [statistics.mean(values) if values else None, error]
    return result


def table(name: str, protocol: Protocol, steps: int, by_remedy: Mapping[str, Any]) -> list[str]:
    """Markdown: the protocol, then ours and any published figures, a remedy a line."""
    titles = ["remedy", "seeds", "modes", "high quality", "reverse KL"]
    if protocol.published:
        titles.append("published, 400,000 steps")
    lines = [
        f"{name}: {protocol.words.format(steps=steps)}; mean ± standard error over seeds, 2,500 samples",
        "",
        f"| {' | '.join(titles)} |",
        "|---" * len(titles) + "|",
    ]
    for remedy, row in by_remedy.items():
        cells = [
            remedy,
            str(row["seeds"]),
            _cell(row["modes"], 1, ".1f"),
            _cell(row["high_quality"], 100, ".1f", " %"),
            _cell(row["reverse_kl"], 1, ".3f"),
        ]
        if protocol.published:
            cells.append(protocol.published.get((name, remedy), ""))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(measure: list[float | None], factor: float, digits: str, unit: str = "") -> str:
    mean, error = measure
    if mean is None:
        return "no sample in a mode"
    return f"{mean * factor:{digits}}" + (f" ± {error * factor:{digits}}" if error is not None else "") + unit


def draw(path: Path, pictured: Mapping[str, tuple[Dataset, Mapping[str, Seeds]]]) -> None:
    """Samples of the first seed of each remedy, on the modes' centres."""
    remedies = [remedy for remedy in REMEDIES if any(remedy in seeds for _, seeds in pictured.values())]
    figure = new_figure(2.6 * len(remedies), 2.9 * len(pictured))
    figure.suptitle("First seed; crosses: the modes' centres")
    grid_of_axes = figure.subplots(len(pictured), len(remedies), squeeze=False)
    for row, (name, (data, by_remedy)) in zip(grid_of_axes, pictured.items(), strict=True):
        assert data.modes is not None
        reach = 1.3 * float(data.modes.centers.abs().max())
        for axes, remedy in zip(row, remedies, strict=True):
            if remedy not in by_remedy:
                axes.set_axis_off()
                continue
            axes.scatter(*data.modes.centers.t().numpy(), marker="+", s=40, linewidths=0.8, color=REAL)
            points = ([float(x) for x in axis.split()] for axis in by_remedy[remedy][0]["samples"])
            axes.scatter(*points, s=4, alpha=0.4, color=GENERATED, linewidths=0)
            axes.set(title=f"{name}, {remedy}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.title.set_fontsize(9)
            open_axes(axes)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
