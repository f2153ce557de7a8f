"""BEGAN's k: when it stays at 0, and what the balance it holds is worth.

python -m experiments.began                                  # goes on where it was stopped
python -m experiments.began --settings "γ 0.9"               # runs this alone; tables and pictures have all
python -m experiments.began --data digits
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.record import arguments, command, data_dir, run_seeds, stored_seeds, write_result
from fastgan.data import Dataset, load
from fastgan.files import write_text
from fastgan.metrics.suite import compare
from fastgan.plots.figure import GUIDE, new_figure, open_axes, save_figure
from fastgan.plots.samples import draw_images
from fastgan.training import Callback, TrainConfig, Trainer
from fastgan.training.recipes import BEGAN, Recipe
from fastgan.training.run_config import RunConfig
from fastgan.training.sampling import sample
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

NAME = "began"
_EVALUATED = 5_000
_PICTURED = 64
_SETTLED = 0.1  # share of a run that is left out before k is looked at
_EARLY = 1_000  # steps, drawn apart
_STEPS = 4_000


@dataclass(frozen=True)
class Setting:
    """What differs from the paper's γ = 0.5, λ = 0.001 and Adam at 10⁻⁴ on two small networks.

    Attributes:
        config: of the training.
        encoder: widths of the autoencoder's encoder; the generator has those of its decoder.
        unit: pixels in [0, 1] instead of [-1, 1].
        plain_start: PyTorch's own initial weights instead of He et al.'s.
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
"""Samples that have learnt nothing, judged as the others are."""

RUN_ON = {
    "mnist": [*(name for name in SETTINGS if name != "recipe of digits"), *FLOORS],
    "digits": ["recipe", "recipe of digits", "recipe, code of 16", *FLOORS],
}
"""What is run where nothing else is asked for."""

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
"""What is drawn into one panel."""


class InUnit(nn.Module):
    """A generator whose samples are moved from [-1, 1] to [0, 1]."""

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
    """Networks and settings; a recipe has its own steps."""
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
    """Train, and return the log's rows and what the samples of the averaged generator are worth."""
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
    return {"rows": log.rows, **judge(data, 2 * fake - 1 if changes.unit else fake, folder, seed)}


def floor(name: str, data: Dataset, folder: Path, seed: int) -> dict[str, Any]:
    """What samples of one of FLOORS are worth."""
    return {"rows": [], **judge(data, FLOORS[name](data, seed), folder, seed)}


def judge(data: Dataset, fake: Tensor, folder: Path, seed: int) -> dict[str, float]:
    """What samples are worth; the first of them are kept for the picture."""
    np.save(folder / f"samples-{seed}.npy", ((fake[:_PICTURED] + 1) * 127.5).round().byte().numpy())
    return compare(data, fake, seed, folder.parent)


_WORTH = ("modes covered", "JSD", "Fréchet distance", "recall", "coverage")


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """How long k stayed at 0, where it and the ratio of losses ended, and the worth of the samples."""
    worth = {name: result[name] for name in _WORTH if name in result}
    rows = result["rows"]
    if not rows:
        return worth
    settled = rows[int(_SETTLED * len(rows)) :]
    last = rows[-max(1, len(rows) // 10) :]
    return {
        "k at 0": sum(row["k"] == 0 for row in settled) / len(settled),
        "k": statistics.fmean(row["k"] for row in last),
        "ratio": statistics.fmean(row["loss_G"] / row["L(x)"] for row in last),
        "L(x)": statistics.fmean(row["L(x)"] for row in last),
        "M": statistics.fmean(row["M"] for row in last),
        "diversity": statistics.fmean(row["diversity"] for row in last),
        **worth,
    }


def table(summaries: Mapping[str, list[dict[str, float]]]) -> str:
    """In Markdown, a line a setting: means over the seeds."""
    columns = list(dict.fromkeys(column for seeds in summaries.values() for column in seeds[0]))
    lines = ["| setting | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
    for name, seeds in summaries.items():
        cells = [_cell(column, [each[column] for each in seeds if column in each]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_FORMATS = {"k at 0": ".0%", "Fréchet distance": ",.0f", "recall": ".3f", "coverage": ".3f"}


def _cell(column: str, values: list[float]) -> str:
    if not values:
        return ""
    return format(statistics.fmean(values), _FORMATS.get(column, ".3g"))


def draw_balance(path: Path, results: Mapping[str, dict[str, Any]]) -> None:
    """k, the ratio of the losses with each γ, and M over the steps, a row of panels a group of settings."""
    groups = {title: [name for name in names if name in results] for title, names in GROUPS.items()}
    groups = {title: names for title, names in groups.items() if names}
    figure = new_figure(17, 3.2 * len(groups))
    for axes, (title, names) in zip(
        figure.subplots(len(groups), 4, squeeze=False), groups.items(), strict=True
    ):
        ratios = [recipe_of(SETTINGS[name]).config.diversity_ratio for name in names]
        shared = {ratio for ratio in ratios if ratios.count(ratio) > 1}
        for name, ratio in zip(names, ratios, strict=True):
            rows = results[name]["rows"]
            steps = [row["step"] for row in rows]
            k = [row["k"] for row in rows]
            (line,) = axes[0].plot(steps, k, linewidth=1.3, marker=".", markersize=4)
            color = line.get_color()
            axes[1].plot(steps, k, color=color, linewidth=1.3)
            axes[2].plot(steps, [row["loss_G"] / row["L(x)"] for row in rows], color=color, linewidth=1.3)
            axes[2].axhline(ratio, color=GUIDE if ratio in shared else color, linestyle="--", linewidth=1)
            axes[3].plot(steps, [row["M"] for row in rows], color=color, label=name, linewidth=1.3)
        for panel, label in zip(axes, ("k at first", "k", "L(G(z)) / L(x)", "M"), strict=True):
            panel.set(title=f"{title}: {label}", xlabel="training step")
            panel.set_ylim(bottom=0)
            panel.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
            open_axes(panel)
        axes[0].set_yscale("symlog", linthresh=1e-3)
        axes[0].set(xlim=(0, _EARLY), ylim=(-1e-4, 1))
        axes[2].set(ylim=(0, 1.5))
        axes[3].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    save_figure(figure, path)


def draw_samples(path: Path, sheets: Mapping[str, Path]) -> None:
    """A sheet of images a setting."""
    columns = min(4, len(sheets))
    rows = -(-len(sheets) // columns)
    figure = new_figure(3 * columns, 3.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, (name, sheet) in zip(panels, sheets.items(), strict=False):
        levels = torch.from_numpy(np.load(sheet))
        draw_images(panel, levels.float() / 127.5 - 1, name)
    save_figure(figure, path)


@command
def main() -> None:
    names = [*SETTINGS, *FLOORS]
    parser = arguments(NAME, __doc__)
    parser.add_argument(
        "--settings", nargs="+", choices=names, metavar="SETTING", help="which to run; else those of the page"
    )
    parser.add_argument("--data", choices=RUN_ON, default="mnist")
    parser.add_argument("--steps", type=int, default=_STEPS, help="of each run but the recipe's")
    data_dir(parser)
    given = parser.parse_args()
    data, out = load(given.data, given.data_dir), given.out / given.data
    folders = {name: out / _slug(name) for name in names}
    for name in given.settings or RUN_ON[given.data]:
        folder = folders[name]
        run = (
            partial(floor, name, data, folder)
            if name in FLOORS
            else partial(train, SETTINGS[name], data, given.steps, folder)
        )
        run_seeds(folder, _settings(name, given.steps), given.seeds, run)
    stored = {name: stored_seeds(folder, _settings(name, given.steps)) for name, folder in folders.items()}
    results = {name: seeds for name, seeds in stored.items() if seeds}
    summaries = {name: list(map(summary, seeds.values())) for name, seeds in results.items()}
    write_result(out, NAME, {"settings": summaries})
    write_text(out / "table.md", table(summaries))
    firsts = {name: min(seeds) for name, seeds in results.items()}
    trained = {name: results[name][seed] for name, seed in firsts.items() if name in SETTINGS}
    sheets = {name: folders[name] / f"samples-{seed}.npy" for name, seed in firsts.items()}
    draw_balance(given.out / f"balance-{given.data}.png", trained)
    draw_samples(given.out / f"samples-{given.data}.png", sheets)
    print(table(summaries))


def _settings(name: str, steps: int) -> dict[str, Any]:
    """What a seed's file says that it was run with."""
    if name in FLOORS:
        return {"samples": _EVALUATED}
    setting = SETTINGS[name]
    return {**asdict(setting), **({"steps": steps} if isinstance(setting, Setting) else {})}


def _slug(name: str) -> str:
    return (
        name.replace("γ", "gamma")
        .replace("λ", "lambda")
        .replace(", ", "-")
        .replace(" ", "_")
        .replace("'", "")
    )


if __name__ == "__main__":
    main()
