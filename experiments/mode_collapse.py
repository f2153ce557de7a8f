"""Mode collapse and its remedies by PacGAN's protocol (docs/experiments/pacgan.md), over seeds.

python -m experiments.mode_collapse --steps 40000 --seeds 0 1 2
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.record import arguments, run_seeds, write_result
from fastgan.data import Dataset
from fastgan.data.synthetic import grid, ring
from fastgan.files import write_text
from fastgan.metrics import mode_coverage, reverse_kl
from fastgan.plots.figure import GENERATED, REAL, new_figure, open_axes, save_figure
from fastgan.training import TrainConfig, Trainer
from fastgan.training.recipes import PUBLISHED
from fastgan.training.run import RunConfig
from fastgan.training.sampling import sample

NAME = "mode_collapse"
_PUBLISHED_STEPS = 400_000
_METRIC_SAMPLES = 2_500
_TRAINED_ON = 100_000
_PICTURED = 1_000
_RECIPE = PUBLISHED["pacgan"]
_PENALTY = {"r1_gamma": 0.1, "r1_interval": 4}

REMEDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pack 2": {"pack": 2, "batch_size": 2 * _RECIPE.config.batch_size},  # as many packs as else samples
    "R1": _PENALTY,
    "label smoothing": {"real_label": 0.9},
    "instance noise": {},
    "relativistic, R1 and R2": {"objective": "relativistic", "r2_gamma": 0.1, **_PENALTY},
}
NOISE = {"ring": 0.4, "grid": 0.6}

PUBLISHED_FIGURES = {
    ("ring", "plain"): "6.3 ± 0.5 modes, 98.2 %, 0.45",
    ("ring", "pack 2"): "7.9 ± 0.1 modes",
    ("grid", "plain"): "17.3 ± 0.8 modes, 94.8 %, 0.70",
    ("grid", "pack 2"): "23.8 ± 0.7 modes",
}
"""Of PacGAN's table, 400,000 steps: modes, high quality, reverse KL."""


def main() -> None:
    parser = arguments(NAME, __doc__, seeds=3)
    parser.add_argument("--steps", type=int, default=_PUBLISHED_STEPS // 10, help="of each run")
    parser.add_argument("--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES))
    parser.add_argument("--data", nargs="+", choices=NOISE, default=list(NOISE))
    options = parser.parse_args()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in options.data}
    for remedy in options.remedies:
        for name in options.data:
            settings = {"steps": options.steps, **settings_of(name, remedy)}
            config = replace(_RECIPE.config, **settings)
            folder = options.out / f"{name}-{remedy.replace(',', '').replace(' ', '-')}"
            results[name][remedy] = run_seeds(
                folder, {"recipe": "pacgan", **settings}, options.seeds, partial(run, name, config)
            )
    tables = {
        name: {remedy: summary(seeds) for remedy, seeds in by_remedy.items()}
        for name, by_remedy in results.items()
    }
    write_result(options.out, NAME, {"steps": options.steps, "seeds": options.seeds, "results": tables})
    write_text(options.out / "table.md", "\n".join(table(tables, options.steps)) + "\n")
    draw(options.out / "samples.png", results, options.steps)


def settings_of(name: str, remedy: str) -> dict[str, Any]:
    """What a remedy changes in PacGAN's recipe."""
    return {"instance_noise": NOISE[name]} if remedy == "instance noise" else REMEDIES[remedy]


def data_of(name: str) -> Dataset:
    """PacGAN's data: a ring of σ 0.01, and a grid that is not magnified."""
    return ring(0.01, _TRAINED_ON) if name == "ring" else grid(1.0, _TRAINED_ON)


def run(name: str, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Train one seed and measure 2,500 samples of the generator."""
    data = data_of(name)
    config = replace(config, seed=seed)
    networks = RunConfig.of(name, data, replace(_RECIPE, config=config))
    torch.manual_seed(seed)
    begun = time.process_time()
    state = Trainer(networks.build_generator(), networks.build_discriminator(), config).fit(data)
    seconds = time.process_time() - begun
    samples = sample(state.average, _METRIC_SAMPLES, config.latent_dim, seed) * data.scale
    coverage = mode_coverage(samples, data.modes)  # type: ignore[arg-type]
    return {
        "modes": coverage.covered,
        "high_quality": coverage.high_quality,
        "reverse_kl": reverse_kl(coverage.counts) if any(coverage.counts) else None,
        "counts": coverage.counts,
        "cpu_seconds": round(seconds, 1),
        "samples": [[round(x, 4) for x in point] for point in samples[:_PICTURED].tolist()],
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over seeds of each measure; reverse KL over those where it is defined."""
    result: dict[str, Any] = {"seeds": len(seeds)}
    for measure in ("modes", "high_quality", "reverse_kl"):
        values = [float(seed[measure]) for seed in seeds if seed[measure] is not None]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        result[measure] = [statistics.mean(values) if values else None, error]
    return result


def table(tables: Mapping[str, Mapping[str, Any]], steps: int) -> list[str]:
    """Markdown: the protocol, then ours and the published figures, a remedy a line."""
    lines = []
    for name, by_remedy in tables.items():
        lines += [
            f"{name}: PacGAN's protocol with {steps:,} of its {_PUBLISHED_STEPS:,} steps; "
            "mean ± standard error over seeds, 2,500 samples",
            "",
            "| remedy | seeds | modes | high quality | reverse KL | published, 400,000 steps |",
            "|---|---|---|---|---|---|",
        ]
        for remedy, row in by_remedy.items():
            cells = [
                _cell(row["modes"], 1, ".1f"),
                _cell(row["high_quality"], 100, ".1f", " %"),
                _cell(row["reverse_kl"], 1, ".2f"),
                PUBLISHED_FIGURES.get((name, remedy), ""),
            ]
            lines.append(f"| {remedy} | {row['seeds']} | {' | '.join(cells)} |")
        lines.append("")
    return lines[:-1]


def _cell(measure: list[float | None], factor: float, digits: str, unit: str = "") -> str:
    mean, error = measure
    if mean is None:
        return "no sample in a mode"
    return f"{mean * factor:{digits}}" + (f" ± {error * factor:{digits}}" if error is not None else "") + unit


def draw(path: Path, results: Mapping[str, Mapping[str, list[dict[str, Any]]]], steps: int) -> None:
    """Samples of the first seed of each remedy, on the modes' centres."""
    remedies = list(next(iter(results.values())))
    figure = new_figure(2.6 * len(remedies), 2.9 * len(results))
    figure.suptitle(f"First seed after {steps:,} steps; crosses: the modes' centres")
    grid_of_axes = figure.subplots(len(results), len(remedies), squeeze=False)
    for row, (name, by_remedy) in zip(grid_of_axes, results.items(), strict=True):
        modes = data_of(name).modes
        assert modes is not None
        reach = 1.3 * float(modes.centers.abs().max())
        for axes, remedy in zip(row, remedies, strict=True):
            axes.scatter(*modes.centers.t().numpy(), marker="+", s=40, linewidths=0.8, color=REAL)
            points = torch.tensor(by_remedy[remedy][0]["samples"])
            axes.scatter(*points.t().numpy(), s=4, alpha=0.4, color=GENERATED, linewidths=0)
            axes.set(title=f"{name}, {remedy}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.title.set_fontsize(9)
            open_axes(axes)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
