"""``fastgan train``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from fastgan._startup import INTERRUPTED
from fastgan.cli.on_tables import is_table, refuse, tables
from fastgan.cli.options import with_settings
from fastgan.cli.terminal import console, fail, say, saying, warn
from fastgan.data import Dataset, Framing, Streaming, load
from fastgan.data import stream as open_stream
from fastgan.data.table_files import is_table_file
from fastgan.kernels.logit_losses import LOSSES
from fastgan.training import capture
from fastgan.training.alarms import Alarm
from fastgan.training.config import PENALTIES, TrainConfig
from fastgan.training.distributed import joined
from fastgan.training.progress import can_animate, shown_on
from fastgan.training.recipes import PUBLISHED, Recipe, published_recipe, recipe_for
from fastgan.training.run import read_config, read_config_file, with_data
from fastgan.training.run_config import RunConfig
from fastgan.training.session import Outcome, resume_run, step_of_finished, train_run

_Run = tuple[RunConfig, Dataset, Streaming | None]
_of_data = partial(typer.Option, rich_help_panel="Data")
_of_tables = partial(typer.Option, rich_help_panel="Tables")


@with_settings
def train(
    data: Annotated[
        str | None,
        typer.Argument(help="ring (the default), grid, digits, mnist, stacked, or a path, also of a table."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help=f"A paper's recipe: {' or '.join(PUBLISHED)}; else the data set's."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="mlp; for images dcgan (the default of a path's RGB images), stylegan2, r3gan."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Begin with the data, networks and settings of a config.yaml.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the run, else runs/DATA-NUMBER.")] = None,
    moved: Annotated[
        str | None, _of_data("--data", help="DATA, or the new place of a resumed run's data.")
    ] = None,
    data_dir: Annotated[
        Path | None, _of_data(envvar="FASTGAN_DATA", help="Folder of downloaded data.")
    ] = None,
    size: Annotated[int | None, _of_data(help="Height and width of a folder's photos, such as 64.")] = None,
    crop: Annotated[str | None, _of_data(help="What to keep of each photo: center or random.")] = None,
    flip: Annotated[bool | None, _of_data(help="Mirror half of the photos.")] = None,
    stream: Annotated[bool | None, _of_data(help="Leave the data on the disk.")] = None,
    workers: Annotated[int | None, _of_data(min=0, help="Processes that read streamed data, else 2.")] = None,
    epochs: Annotated[
        int | None, _of_tables(min=1, help="Passes over a table, else 300; or give --steps.")
    ] = None,
    columns: Annotated[
        list[str] | None, _of_tables(help="Kinds of columns, where detection errs: zip=category,age=integer.")
    ] = None,
    max_categories: Annotated[
        int | None, _of_tables(min=2, help="Values of a column with a code of their own, else 500.")
    ] = None,
    **settings: Any,
) -> None:
    """Train a GAN. Settings that are not given come from the data set's recipe.

    A path may be a folder of images, an .npy or .npz array, or an IDX file; or a table, .csv, .tsv or
    .parquet.

    On several GPUs or machines: torchrun --nproc-per-node=N -m fastgan train ...
    """
    changes = _given(settings)
    if "extractor" in changes:
        changes["extractor"] = str(Path(changes["extractor"]).absolute())  # the run may be resumed elsewhere
    framing = _given({"size": size, "crop": crop, "flip": flip})
    if data:
        refuse(f"DATA is {data} already", data=moved)
    source = data or moved
    of_table = {"epochs": epochs, "columns": columns, "max_categories": max_categories}
    if _is_of_table(source, resume, config):
        unfit = {"model": model, "recipe": recipe, "stream": stream, "workers": workers}
        refuse("a table has networks of its own", **unfit, **framing)
        _train_table(source, resume, config, out, _given(of_table), changes)
        return
    refuse(f"{source or resume or config or 'ring'} is no table", **of_table)
    if resume:
        others = {"model": model, "recipe": recipe, "config": config, "out": out}
        refuse(f"{resume}: continues as it began, in its own folder", **others, **framing)
        run, dataset, feed = _resumed(resume, source, data_dir, stream, changes)
    elif config:
        refuse(f"--config {config} has networks and settings of its own", recipe=recipe, model=model)
        before = read_config_file(config, changes.get("device"))
        stream = before.stream if stream is None else stream
        data_dir = data_dir or before.data_path
        framed = replace(before.framing, **framing)
        run, dataset, feed = _new(
            source or before.data, data_dir, framed, stream, changes, lambda _: before.recipe
        )
        run = replace(run, workers=before.workers)
    else:
        if recipe:
            refuse(f"--recipe {recipe} has networks of its own", model=model)
        objective = changes.get("objective")
        framed = Framing(**framing)
        run, dataset, feed = _new(
            *(source or "ring", data_dir, framed, stream, changes),
            lambda data: published_recipe(recipe, data) if recipe else recipe_for(data, objective, model),
        )
    if workers is not None:
        run = replace(run, workers=workers)
    say(_decided(run, len(feed or dataset.samples)))
    _warn_of(run.training)
    with joined(torch.device(run.training.device)) as world:
        progress = shown_on(console, run.training.steps, every_row="log_interval" in changes)
        with progress, saying(capture.LOG):
            if resume:
                outcome = resume_run(resume, dataset, run, [progress], feed=feed, world=world)
            else:
                outcome = train_run(out, dataset, run, [progress], feed=feed, world=world)
    if outcome.folder is not None:
        _print_outcome(outcome.folder, outcome)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _is_of_table(source: str | None, resume: Path | None, config: Path | None) -> bool:
    if resume is not None:
        return is_table(resume)
    if source is not None:
        return is_table_file(Path(source)) and not Path(source).is_dir()
    return config is not None and tables().read_run_file(config) is not None


def _train_table(
    source: str | None,
    resume: Path | None,
    config: Path | None,
    out: Path | None,
    of_table: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    commands = tables()
    every_row = "log_interval" in changes
    if resume:
        refuse(f"{resume}: continues as it began, in its own folder", config=config, out=out, **of_table)
        outcome = commands.resume(resume, Path(source) if source else None, changes, every_row=every_row)
    else:
        if "columns" in of_table:
            of_table["columns"] = commands.columns_of(of_table["columns"])
        table = Path(source) if source else None
        outcome = commands.begin(out, table, config, of_table | changes, every_row=every_row)
    if outcome is None:
        return
    if outcome.folder is not None:
        _print_outcome(outcome.folder, outcome, commands.closing_lines(outcome.folder, outcome))
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _new(
    source: str,
    data_dir: Path | None,
    framing: Framing,
    stream: bool | None,
    changes: dict[str, Any],
    recipe_of: Callable[[Dataset], Recipe],
) -> _Run:
    dataset, feed = _read(source, data_dir, framing, stream=bool(stream))
    recipe = recipe_of(dataset)
    if changes.get("labels", recipe.config.labels) and dataset.labels is None:
        fail(
            f"--labels, but {source} has none; use mnist, digits, stacked, IDX files with labels, or a "
            "folder with a subfolder for each class"
        )
    recipe = replace(recipe, config=replace(recipe.config, **changes))
    run = RunConfig.of(source, dataset, recipe, framing)
    return replace(run, data_dir=str(data_dir.absolute()) if data_dir else None), dataset, feed


def _resumed(
    folder: Path, source: str | None, data_dir: Path | None, stream: bool | None, changes: dict[str, Any]
) -> _Run:
    before = with_data(folder, read_config(folder, changes.get("device")), source, data_dir)
    if None not in (stream, before.stream) and stream != before.stream:
        how, option = ("streamed", "--no-stream") if before.stream else ("did not stream", "--stream")
        fail(f"{folder}: {how} its data; omit {option}")
    run = replace(before, training=replace(before.training, **changes))
    _end_if_finished(folder, run)
    if run.training.steps != before.training.steps:
        say(f"{run.training.steps:,} steps in place of {before.training.steps:,}, with their schedules")
    dataset, feed = _read(run.data, run.data_path, run.framing, stream=bool(stream or run.stream))
    return run, dataset, feed


def _read(
    source: str, data_dir: Path | None, framing: Framing, *, stream: bool
) -> tuple[Dataset, Streaming | None]:
    with console.status(f"reading {source}") if can_animate(console) else nullcontext():
        return open_stream(source, framing) if stream else (load(source, data_dir, framing), None)


def _end_if_finished(folder: Path, config: RunConfig) -> None:
    done = step_of_finished(folder, config.training)
    if done is not None:
        say(f"nothing to do: {folder} has been trained for {done:,} steps; give --steps a larger number")
        raise typer.Exit


def _warn_of(config: TrainConfig) -> None:
    if config.augment_probability is not None and not config.augment:
        warn("augment_probability has no effect; give --augment")
    loss = LOSSES.get(config.objective)
    if loss and loss.lipschitz and not any(getattr(config, name) for name in PENALTIES):
        warn(
            f"nothing keeps D Lipschitz, which {config.objective} needs; "
            "give --gp-weight 10 --penalty-interval 1"
        )


def _decided(config: RunConfig, count: int) -> str:
    """Describes data and model in a line."""
    first, *size = config.sample_shape
    if not size:
        return f"{config.title}: {count:,} points of {first} axes, model {config.model}"
    kind, framing = "RGB" if first == 3 else "grey", config.framing
    framed = [f"{framing.crop} crop"] if framing.size else []
    framed += ["mirrored at random"] if framing.flip else []
    how = f" ({', '.join(framed)})" if framed else ""
    height, width = size
    return f"{config.title}: {count:,} {kind} images of {width} x {height} pixels{how}, model {config.model}"


def _print_outcome(folder: Path, outcome: Outcome, closing: Sequence[str] = ()) -> None:
    summary = outcome.summary
    typed = shlex.quote(str(folder))
    verb = "stopped" if outcome.interrupted else "trained"
    lines = [f"{verb} at step {summary['steps']:,} after {summary['seconds']:.0f} s"]
    if "modes" in summary:
        lines.append(
            f"modes covered {summary['modes_covered']} of {summary['modes']}, "
            f"{summary['high_quality']:.1%} of samples within 3 sigma of one"
        )
    if "best" in summary:
        step, fid = summary["best"]["step"], summary["best"]["fid"]
        lines.append(f"best        fid {fid:.4g} at step {step:,}, fastgan sample {typed} --best")
    for alarm in summary["alarms"]:
        lines.append(f"alarm       {Alarm(**alarm)}")
    lines += [
        f"picture     {folder / 'dashboard.png'}",
        f"everything  {folder} (samples-*.png, metrics.jsonl, checkpoint, config.yaml)",
        *(closing or [f"next        fastgan sample {typed}, or tensorboard --logdir {typed}"]),
    ]
    if outcome.interrupted:
        lines.append(f"continue    fastgan train --resume {typed}")
    for line in lines:
        say(line)
