"""``fastgan evaluate``."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from fastgan.cli.on_tables import is_table, refuse, tables
from fastgan.cli.terminal import Best, console, warn
from fastgan.data import Dataset, load, stream
from fastgan.training.evaluation import evaluate as evaluate_run
from fastgan.training.run import read_config, with_data
from fastgan.training.run_config import RunConfig

_of_tables = partial(typer.Option, rich_help_panel="Tables")
_COUNTS = ("step", "modes covered", "modes")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int, typer.Option(min=2, help="Number of samples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latent vectors.")] = 0,
    classifier_dir: Annotated[
        Path | None,
        typer.Option(help="Folder in which to keep the classifier for images; else it is trained each time."),
    ] = None,
    best: Best = False,
    data: Annotated[str | None, typer.Option(help="Where the run's data are now.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTGAN_DATA", help="Folder of downloaded data.")
    ] = None,
    holdout: Annotated[
        Path | None, _of_tables(help="Real rows that were not trained on, for --target and privacy.")
    ] = None,
    target: Annotated[
        str | None, _of_tables(help="Column that models trained on samples predict in --holdout.")
    ] = None,
    out: Annotated[
        Path | None, _of_tables(help="Picture of columns and pairs, else RUN/quality.png.")
    ] = None,
) -> None:
    """Measure a trained generator against its data.

    For a run on a table: distributions of columns, relations of pairs, how well classifiers tell rows apart,
    distances to the closest real row, and what a model learns from the rows.
    """
    if is_table(run):
        refuse("a table needs no classifier", classifier_dir=classifier_dir, best=best or None)
        moved = Path(data) if data else None
        tables().evaluate(run, count, seed, moved, holdout, target, out)
        return
    refuse(f"{run}: was not trained on a table", holdout=holdout, target=target, out=out)
    config = with_data(run, read_config(run, device="cpu"), data, data_dir)
    table = Table("", "", show_header=False, box=None)
    compared, everything = _read(config, count, seed)
    values = evaluate_run(run, config, compared, count, seed, classifier_dir, best=best)
    other = config.other_data(config.noting(compared, everything))
    if other is not None:
        warn(f"{run}: {other}")
    for name, value in values.items():
        table.add_row(name, f"{value:,.0f}" if name in _COUNTS else f"{value:.4f}")
    console.print(table)


def _read(config: RunConfig, count: int, seed: int) -> tuple[Dataset, Sized]:
    """Real samples to compare with, and all data; streamed data stay on the disk."""
    if not config.stream:
        loaded = load(config.data, config.data_path, config.framing)
        return loaded, loaded.samples
    first, feed = stream(config.data, config.framing)
    rows = torch.randperm(len(feed), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    labels = None if feed.labels is None else feed.labels[rows]
    return replace(first, samples=feed.images(rows.tolist()), labels=labels), feed
