"""``fastgan evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastgan.cli.terminal import console
from fastgan.data import load
from fastgan.training.evaluation import evaluate as evaluate_run
from fastgan.training.run import read_config

_COUNTS = ("step", "modes covered", "modes")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int, typer.Option(min=2, help="How many samples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the noise.")] = 0,
    classifier_dir: Annotated[
        Path | None, typer.Option(help="Keeps what images are compared by; else trained each time.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTGAN_DATA", help="Where downloaded data lies.")
    ] = None,
) -> None:
    """Measure a trained generator against its data."""
    config = read_config(run, device="cpu")
    table = Table("", "", show_header=False, box=None)
    data = load(config.data, data_dir)
    for name, value in evaluate_run(run, config, data, count, seed, classifier_dir).items():
        table.add_row(name, f"{value:,.0f}" if name in _COUNTS else f"{value:.4f}")
    console.print(table)
