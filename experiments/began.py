"""BEGAN's k on MNIST: when it stays at 0, and what the balance it holds is worth.

python -m experiments.began                    # goes on where it was stopped
python -m experiments.began --settings "γ 0.9" # this alone
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.record import arguments, run_seeds, write_result
from fastgan.data import Dataset, load
from fastgan.files import write_text
from fastgan.metrics.suite import compare
from fastgan.models import MLPAutoencoder, MLPGenerator
from fastgan.plots.figure import GUIDE, new_figure, open_axes, save_figure
from fastgan.plots.samples import draw_images
from fastgan.training import Callback, TrainConfig, Trainer
from fastgan.training.sampling import sample
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow

NAME = "began"
_EVALUATED = 5_000
_PICTURED = 64
_SETTLED = 0.1  # share of a run that is left out before k is looked at


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


SETTINGS = {
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
    "λ 0.1, γ 0.9, learning rate 0.001": Setting(
        {"balance_rate": 0.1, "diversity_ratio": 0.9, "learning_rate": 1e-3}
    ),
}


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
    "faster balance": ("paper", "λ 0.1", "λ 0.1, γ 0.9", "λ 0.1, γ 0.9, learning rate 0.001"),
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


def train(setting: Setting, data: Dataset, steps: int, folder: Path, seed: int) -> dict[str, Any]:
    """Train, and return the log's rows and what the samples of the averaged generator are worth."""
    torch.manual_seed(seed)
    config = TrainConfig(
        **{
            "steps": steps,
            "batch_size": 64,
            "latent_dim": setting.encoder[-1],
            "learning_rate": 1e-4,
            "objective": "began",
            "seed": seed,
            "threads": 1,
            "log_interval": max(1, steps // 100),
            **setting.config,
        }
    )
    decoder = setting.encoder[:-1][::-1]
    generator: nn.Module = MLPGenerator(config.latent_dim, data.shape, decoder, bounded=True)
    discriminator = MLPAutoencoder(data.shape, setting.encoder)
    if setting.plain_start:
        for layer in (*generator.modules(), *discriminator.modules()):
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    samples = data.samples
    if setting.unit:
        generator, samples = InUnit(generator), (samples + 1) / 2
    log = _Log()
    state = Trainer(generator, discriminator, config, [log]).fit(samples)
    fake = sample(state.average, _EVALUATED, config.latent_dim, seed, config.latent)
    fake = 2 * fake - 1 if setting.unit else fake
    worth = compare(data, fake, seed, folder.parent)
    np.save(folder / f"samples-{seed}.npy", ((fake[:_PICTURED] + 1) * 127.5).round().byte().numpy())
    return {"rows": log.rows, **worth}


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """How long k stayed at 0, where it and the ratio of losses ended, and the worth of the samples."""
    rows = result["rows"]
    settled = rows[int(_SETTLED * len(rows)) :]
    last = rows[-max(1, len(rows) // 10) :]
    return {
        "k at 0": sum(row["k"] == 0 for row in settled) / len(settled),
        "k": statistics.fmean(row["k"] for row in last),
        "ratio": statistics.fmean(row["loss_G"] / row["L(x)"] for row in last),
        "L(x)": statistics.fmean(row["L(x)"] for row in last),
        "M": statistics.fmean(row["M"] for row in last),
        "diversity": statistics.fmean(row["diversity"] for row in last),
        **{name: result[name] for name in ("modes covered", "JSD", "Fréchet distance") if name in result},
    }


def table(summaries: Mapping[str, list[dict[str, float]]]) -> str:
    """In Markdown, a line a setting: means over the seeds."""
    columns = list(next(iter(summaries.values()))[0])
    lines = ["| setting | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
    for name, seeds in summaries.items():
        means = {column: statistics.fmean(each[column] for each in seeds) for column in columns}
        cells = [f"{mean:.0%}" if column == "k at 0" else f"{mean:.3g}" for column, mean in means.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_balance(path: Path, results: Mapping[str, dict[str, Any]]) -> None:
    """k, the ratio of the losses and M over the steps, a row of panels a group of settings."""
    groups = {title: [name for name in names if name in results] for title, names in GROUPS.items()}
    groups = {title: names for title, names in groups.items() if names}
    figure = new_figure(12, 3.2 * len(groups))
    for axes, (title, names) in zip(
        figure.subplots(len(groups), 3, squeeze=False), groups.items(), strict=True
    ):
        for name in names:
            rows = results[name]["rows"]
            steps = [row["step"] for row in rows]
            for panel, values in zip(
                axes,
                (
                    [row["k"] for row in rows],
                    [row["loss_G"] / row["L(x)"] for row in rows],
                    [row["M"] for row in rows],
                ),
                strict=True,
            ):
                panel.plot(steps, values, label=name, linewidth=1.3)
        axes[1].axhline(0.5, color=GUIDE, linestyle="--", linewidth=1)
        axes[1].set(ylim=(0, 1.5))
        for panel, label in zip(axes, ("k", "L(G(z)) / L(x)", "M"), strict=True):
            panel.set(title=f"{title}: {label}", xlabel="training step")
            panel.set_ylim(bottom=0)
            panel.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
            open_axes(panel)
        axes[0].legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def draw_samples(path: Path, folders: Mapping[str, Path], seed: int) -> None:
    """A sheet of images a setting."""
    columns = min(4, len(folders))
    rows = -(-len(folders) // columns)
    figure = new_figure(3 * columns, 3.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, (name, folder) in zip(panels, folders.items(), strict=False):
        levels = torch.from_numpy(np.load(folder / f"samples-{seed}.npy"))
        draw_images(panel, levels.float() / 127.5 - 1, name)
    save_figure(figure, path)


def main() -> None:
    parser = arguments(NAME, __doc__)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--data", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--steps", type=int, default=4_000, help="of each run")
    given = parser.parse_args()
    data = load(given.data, Path(os.environ["FASTGAN_DATA"]) if "FASTGAN_DATA" in os.environ else None)
    folders = {name: given.out / given.data / _slug(name) for name in given.settings}
    results = {}
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**asdict(SETTINGS[name]), "steps": given.steps}
        run = partial(train, SETTINGS[name], data, given.steps, folder)
        results[name] = run_seeds(folder, settings, given.seeds, run)
    summaries = {name: list(map(summary, seeds)) for name, seeds in results.items()}
    write_result(given.out / given.data, NAME, {"steps": given.steps, "settings": summaries})
    draw_balance(given.out / f"balance-{given.data}.png", {name: seeds[0] for name, seeds in results.items()})
    draw_samples(given.out / f"samples-{given.data}.png", folders, given.seeds[0])
    write_text(given.out / given.data / "table.md", table(summaries))
    print(table(summaries))


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
