"""``fastgan train``, ``sample`` and ``evaluate`` for tables."""

from __future__ import annotations

import json
import shlex
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fastgan.cli.pictures import check_picture
from fastgan.cli.terminal import console, fail, say, warn
from fastgan.files import write_text
from fastgan.tabular.columns import names_of
from fastgan.tabular.config import TableConfig
from fastgan.tabular.errors import TableError, TableWarning
from fastgan.tabular.frames import read_table, write_chunks
from fastgan.tabular.gan import TabularGAN, fitted
from fastgan.tabular.quality import evaluate_tables, lost_values
from fastgan.tabular.run import TableRun, begin_run, read_run, read_run_file, resume_run
from fastgan.tabular.transform import TableTransform
from fastgan.training.distributed import World, joined
from fastgan.training.progress import Shown, can_animate, shown_on
from fastgan.training.session import Outcome, step_of_finished

KINDS = "continuous, integer, datetime, timedelta, date, time, boolean or category"


def begin(
    out: Path | None, table: Path | None, config: Path | None, changes: dict[str, Any], *, every_row: bool
) -> Outcome:
    """Train on a table in a new folder, with CTGAN's settings or those of a config.yaml, and changes."""
    before = None if config is None else read_run_file(config, changes.get("device"))
    if config is not None and before is None:
        fail(f"--config {config} is not that of a run on a table; omit it")
    if table is None:
        assert before is not None
        table = before.table
    settings = (before.config if before else TableConfig()).changed(**changes)
    frame = _read(table, settings.columns)
    settings = replace(settings, columns=_with_names_of(frame, settings.columns))
    run = TableRun.of(table, frame, settings)
    with _working(f"finding the columns of {table}"), _warnings_as_lines(), _naming(table):
        transform = fitted(run.config, frame)
    say(_decided(run, transform))
    with _shown(run, every_row) as (progress, world):
        return begin_run(out, run, frame, transform, [progress], world)


def resume(
    folder: Path, table: Path | None, changes: Mapping[str, Any], *, every_row: bool
) -> Outcome | None:
    """Continue a run on a table, whose file may have moved; None if it has ended."""
    run = read_run(folder, changes.get("device"))
    training = replace(run.config.training, **changes)
    run = replace(run, table=table or run.table, config=replace(run.config, training=training))
    done = step_of_finished(folder, training)
    if done is not None:
        say(f"nothing to do: {folder} has been trained for {done:,} steps; give --steps a larger number")
        return None
    frame = _read(run.table, run.config.columns)
    with _shown(run, every_row) as (progress, world):
        return resume_run(folder, run, frame, [progress], world)


def columns_of(given: Sequence[str]) -> dict[str | int, str]:
    """Kinds by column, from ``age=continuous``; commas separate several."""
    kinds: dict[str | int, str] = {}
    for each in (part for text in given for part in text.split(",")):
        name, equals, kind = each.rpartition("=")
        if not equals:
            fail(f"--columns {each}: expected COLUMN=KIND, with one of {KINDS}")
        kinds[name] = kind
    return kinds


def _with_names_of(frame: pd.DataFrame, kinds: Mapping[str | int, str]) -> dict[str | int, str]:
    """Kinds by column, for columns whose names may be integers."""
    names = {str(name): name for name in names_of(frame)}
    return {names.get(str(name), name): kind for name, kind in kinds.items()}


def sample(run: Path, count: int, out: Path, conditions: Sequence[str], seed: int) -> None:
    """Write rows of a trained generator to a file, a part of them at a time."""
    gan = TabularGAN.load(run)
    assert gan.transform is not None
    given: dict[str | int, Any] = {}
    for each in conditions:
        column, value = _condition(gan.transform, each)
        if column in given:
            fail(f"--condition {each}: there is another on {column!r}; give one for each column")
        given[column] = value
    write_chunks(gan.chunks(count, given, seed), out)
    console.print(f"{count:,} rows of {run} are in {out}", soft_wrap=True)


def _condition(transform: TableTransform, given: str) -> tuple[str | int, Any]:
    """A column and its value, from ``sex=female``."""
    name, equals, value = given.partition("=")
    if not equals:
        fail(f"--condition {given}: expected COLUMN=VALUE, such as sex=female")
    return transform.spelled(name, value)


def evaluate(
    run: Path,
    count: int,
    seed: int,
    data: Path | None,
    holdout: Path | None,
    target: str | None,
    out: Path | None,
) -> None:
    """Compare rows of a trained generator with its table, and draw both."""
    out = out or run / "quality.png"
    check_picture(out)
    gan = TabularGAN.load(run)
    assert gan.transform is not None
    data = data or read_run(run, "cpu").table
    texts = [column.name for column in gan.transform.columns if column.storage.family == "string"]
    real = _read(data, gan.config.columns, texts)
    with _naming(data):
        gan.transform.check(real)
    held = None if holdout is None else _read(holdout, gan.config.columns, texts)
    synthetic = gan.sample(count, seed=seed)
    kinds = gan.transform.kinds
    with _working("comparing both tables"):
        quality = evaluate_tables(real, synthetic, holdout=held, target=target, kinds=kinds, seed=seed)
    quality.plot(out)
    write_text(out.with_suffix(".json"), json.dumps(quality.as_json(), indent=1) + "\n")
    say(quality.summary())
    for column, values in lost_values(real, synthetic, kinds).items():
        say(f"missing     {column}: {', '.join(map(str, values))}")
    say(f"picture     {out}, figures in {out.with_suffix('.json')}")


def closing_lines(folder: Path, outcome: Outcome) -> list[str]:
    """What a run on a table ended with, and what to do next."""
    summary, typed = outcome.summary, shlex.quote(str(folder))
    return [
        *(f"{name:<11} {summary[name]:.3f} of 1" for name in ("marginals", "pairs") if name in summary),
        f"next        fastgan sample {typed} --count 1000 --out synthetic.csv, or fastgan evaluate {typed}",
    ]


def _read(table: Path, columns: Mapping[str | int, str], texts: Sequence[str | int] = ()) -> pd.DataFrame:
    with _working(f"reading {table}"), _warnings_as_lines():
        return read_table(table, columns, texts)


@contextmanager
def _naming(table: Path) -> Iterator[None]:
    """Begin errors with the name of the file."""
    try:
        yield
    except TableError as error:
        raise TableError(f"{table}: {error}") from error


def _working(what: str) -> AbstractContextManager[object]:
    return console.status(what) if can_animate(console) else nullcontext()


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TableWarning)
        yield
    for each in caught:
        if issubclass(each.category, TableWarning):
            warn(str(each.message))


@contextmanager
def _shown(run: TableRun, every_row: bool) -> Iterator[tuple[Shown, World]]:
    training = run.config.training
    with (
        joined(torch.device(training.device)) as world,
        shown_on(console, training.steps, every_row=every_row) as progress,
    ):
        yield progress, world


def _decided(run: TableRun, transform: TableTransform) -> str:
    """Describes table and model in a line."""
    kinds = Counter(column.kind for column in transform.columns)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    steps = run.config.training.steps
    return (
        f"{run.table.name}: {run.rows:,} rows of {len(transform.columns)} columns ({counted}), "
        f"model ctgan, {steps:,} steps"
    )
