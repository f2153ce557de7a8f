"""Logs and alarms of the recipes, and of runs with settings that make them fail.

python -m experiments.diagnostics                              # continues where it was stopped
python -m experiments.diagnostics --runs ring "ring, G frozen" # runs only these
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments import markdown
from experiments.record import (
    arguments,
    command,
    data_dir,
    folder_name,
    run_seeds,
    stored_seeds,
    write_result,
)
from fastgan.data import load
from fastgan.training import Callback, Trainer
from fastgan.training.alarms import Alarm
from fastgan.training.recipes import recipe_for
from fastgan.training.run_config import RunConfig
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow


@dataclass(frozen=True)
class Run:
    """A recipe with changes.

    Attributes:
        data: the recipe's data set.
        settings: changes to the recipe's configuration.
        discriminator: widths of D's hidden layers; None for the recipe's.
        frozen: number of steps in which the generator gets no gradient.
    """

    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    discriminator: tuple[int, ...] | None = None
    frozen: int = 0


_BARE = {"instance_noise": 0.0, "pack": 1, "r1_gamma": 0.0}
_BARE_RING = {**_BARE, "steps": 4_000, "learning_rate": 1e-3}
_OBJECTIVES = ("relativistic", "relativistic-average", "hinge")
AS_THEY_ARE = {
    "ring": Run("ring"),
    "ring, 2,000 steps": Run("ring", {"steps": 2_000}),
    "grid": Run("grid"),
    "digits": Run("digits"),
    "mnist": Run("mnist"),
}
MADE_TO_FAIL = {
    "ring, learning rate 0.01": Run("ring", {**_BARE_RING, "learning_rate": 1e-2}),
    "ring, D of two units": Run("ring", _BARE_RING, discriminator=(2,)),
    "ring, saturating, 5 turns of D": Run(
        "ring", {**_BARE_RING, "generator_loss": "saturating", "discriminator_steps": 5}
    ),
    "ring, G frozen": Run("ring", _BARE_RING, frozen=4_000),
    "ring, D hardly learns": Run("ring", {**_BARE_RING, "discriminator_learning_rate": 1e-7}),
    "digits, β₁ 0.9, learning rate 0.005": Run(
        "digits", {**_BARE, "steps": 3_000, "learning_rate": 5e-3, "betas": (0.9, 0.999)}
    ),
    "digits, D of two units": Run("digits", {**_BARE, "steps": 3_000}, discriminator=(2,)),
    "digits, saturating, G frozen for 600 steps": Run(
        "digits", {**_BARE, "steps": 2_000, "generator_loss": "saturating"}, frozen=600
    ),
    "mnist, learning rate 0.01": Run("mnist", {**_BARE, "steps": 2_000, "learning_rate": 1e-2}),
}
OTHER_OBJECTIVES = {
    **{
        f"{data}, {objective}": Run(data, {"steps": steps, "objective": objective})
        for data, steps in (("ring", 4_000), ("digits", 2_000))
        for objective in _OBJECTIVES
    },
    **{
        f"digits, {objective}, G frozen": Run(
            "digits", {**_BARE, "steps": 1_000, "objective": objective}, frozen=1_000
        )
        for objective in _OBJECTIVES
    },
}
RUNS = {**AS_THEY_ARE, **MADE_TO_FAIL, **OTHER_OBJECTIVES}
_OF_SAMPLES = ("diversity", "modes_covered")
_OF_CROSS_ENTROPY = ("gradient_share", "D(G(z))", *_OF_SAMPLES)
_OF_OTHERS = ("D(x, G(z))", "D~(G(z))", "saturated", *_OF_SAMPLES)
GROUPS = ((AS_THEY_ARE, _OF_CROSS_ENTROPY), (MADE_TO_FAIL, _OF_CROSS_ENTROPY), (OTHER_OBJECTIVES, _OF_OTHERS))
"""The runs and columns of each table."""


class _Log(Callback):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append({"step": row.step, **row.values})


def watch(run: Run, folder: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Train (with MNIST from the folder) and return the summary."""
    data = load(run.data, folder)
    recipe = recipe_for(data, run.settings.get("objective"))
    recipe = replace(
        recipe,
        discriminator=run.discriminator or recipe.discriminator,
        config=replace(recipe.config, threads=1, seed=seed, **run.settings),
    )
    config = RunConfig.of(run.data, data, recipe)
    torch.manual_seed(seed)
    log = _Log()
    trainer = Trainer(config.build_generator(), config.build_discriminator(), config.training, [log])
    if run.frozen:
        _freeze(trainer.state.generator, lambda: trainer.state.step < run.frozen)
    trainer.fit(data)
    return summary(log.rows, trainer.watch.alarms)


def _freeze(generator: nn.Module, frozen: Callable[[], bool]) -> None:
    def hook(grad: Tensor) -> Tensor:
        return torch.zeros_like(grad) if frozen() else grad

    for p in generator.parameters():
        p.register_hook(hook)


def summary(rows: Sequence[Mapping[str, float]], alarms: Iterable[Alarm]) -> dict[str, Any]:
    """The range of each value that the alarms' rules read, and the alarms."""
    spans = {
        name: [min(values), max(values)]
        for name in dict.fromkeys((*_OF_CROSS_ENTROPY, *_OF_OTHERS))
        if (values := [row[name] for row in rows if name in row])
    }
    return {"steps": rows[-1]["step"], "spans": spans, "alarms": [asdict(alarm) for alarm in alarms]}


def tables(result: Mapping[str, Any]) -> list[str]:
    """Tables with a row per run: recipes, runs made to fail, other objectives."""
    runs = {**result.get("rounded", {}), **result["runs"]}
    found = []
    for group, columns in GROUPS:
        rows = [[name, *_cells(runs[name], columns)] for name in group if name in runs]
        if rows:
            titles = ["run", "steps", *(f"`{column}`" for column in columns), "alarms"]
            found.append(markdown.table(titles, rows))
    return found


def _cells(run: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    spans = [markdown.span(run["spans"][column]) if column in run["spans"] else "" for column in columns]
    return [f"{run['steps']:,}", *spans, "; ".join(map(_when, run["alarms"])) or "none"]


def _when(alarm: Mapping[str, Any]) -> str:
    over = "" if alarm["ended"] is None else f" to {alarm['ended']:,}"
    return f"{alarm['name']} {alarm['raised']:,}{over}"


@command
def main() -> None:
    parser = arguments("diagnostics", __doc__, seeds=0)
    parser.add_argument(
        "--runs", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help="which to run"
    )
    data_dir(parser)
    given = parser.parse_args()
    folders = {name: given.out / folder_name(name) for name in RUNS}
    for name in given.runs:
        run_seeds(folders[name], asdict(RUNS[name]), [0], partial(watch, RUNS[name], given.data_dir))
    stored = {name: stored_seeds(folder, asdict(RUNS[name])) for name, folder in folders.items()}
    summaries = {name: seeds[0] for name, seeds in stored.items() if 0 in seeds}
    write_result(given.out, "diagnostics", {"runs": summaries}, tables)


if __name__ == "__main__":
    main()
