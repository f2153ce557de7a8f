"""``fastgan train``."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer

from fastgan._startup import INTERRUPTED
from fastgan.cli.terminal import console, fail, say, warn
from fastgan.data import Dataset, Framing, Streaming, load
from fastgan.data import stream as open_stream
from fastgan.data.folder import Crop
from fastgan.training.alarms import Alarm
from fastgan.training.config import PENALTIES, TrainConfig
from fastgan.training.distributed import joined
from fastgan.training.progress import can_animate, shown_on
from fastgan.training.recipes import published_recipe, recipe_for
from fastgan.training.run import read_config, with_data
from fastgan.training.run_config import RunConfig
from fastgan.training.session import Outcome, resume_run, step_of_finished, train_run


def train(
    data: Annotated[
        str | None, typer.Argument(help="ring (the default), grid, digits, mnist, stacked, or a path.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="As published: pacgan, goodfellow2014 or unrolled, for the data set's own."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="mlp, or dcgan for images; a path's RGB images get dcgan.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Of a folder's photos: pixels a side, 64 for example.")
    ] = None,
    crop: Annotated[str | None, typer.Option(help="Of these: center, or random windows.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of them.")] = False,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a batch, of all processes.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Size of G's input.")] = None,
    latent: Annotated[str | None, typer.Option(help="normal or uniform.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of both players.")] = None,
    discriminator_learning_rate: Annotated[float | None, typer.Option(help="Of D, where it differs.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="gan, hinge, least-squares, wasserstein, relativistic, relativistic-average, began."
        ),
    ] = None,
    real_label: Annotated[float | None, typer.Option(help="Below 1: one-sided label smoothing.")] = None,
    generator_loss: Annotated[str | None, typer.Option(help="non-saturating or saturating.")] = None,
    diversity_ratio: Annotated[float | None, typer.Option(help="Gamma of began.")] = None,
    balance_rate: Annotated[float | None, typer.Option(help="Lambda of began.")] = None,
    discriminator_steps: Annotated[int | None, typer.Option(help="Turns of D for each turn of G.")] = None,
    update: Annotated[str | None, typer.Option(help="alternating or simultaneous.")] = None,
    pack: Annotated[int | None, typer.Option(help="Samples that D sees at once.")] = None,
    instance_noise: Annotated[
        float | None, typer.Option(help="Its deviation, in D's units, at first; none after half the run.")
    ] = None,
    r1_gamma: Annotated[float | None, typer.Option(help="Weight of the R1 penalty.")] = None,
    r2_gamma: Annotated[float | None, typer.Option(help="The same, on generated samples.")] = None,
    gp_weight: Annotated[float | None, typer.Option(help="Weight of WGAN-GP's penalty, there 10.")] = None,
    dragan_weight: Annotated[float | None, typer.Option(help="Weight of DRAGAN's penalty.")] = None,
    penalty_interval: Annotated[int | None, typer.Option(help="Steps between two penalties.")] = None,
    gradient_clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, tf32 or bf16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, batches and noise.")] = None,
    device: Annotated[str | None, typer.Option(help="As in torch.device.")] = None,
    steps_per_replay: Annotated[int | None, typer.Option(help="Steps a CUDA graph holds.")] = None,
    log_interval: Annotated[int | None, typer.Option(help="Steps between two rows of the log.")] = None,
    sample_interval: Annotated[int | None, typer.Option(help="Steps between two sample pictures.")] = None,
    checkpoint_interval: Annotated[int | None, typer.Option(help="Steps between two checkpoints.")] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(help="The same by the clock, at the log's next row.")
    ] = None,
    keep: Annotated[int | None, typer.Option(help="How many checkpoints stay.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder; else runs/DATA-NUMBER.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run of this folder.")] = None,
    moved: Annotated[
        str | None, typer.Option("--data", help="DATA, or where those of a resumed run lie now.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Leave the data on the disk.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read streamed data, else 2.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTGAN_DATA", help="Where downloaded data lies.")
    ] = None,
) -> None:
    """Train a GAN. What is not given comes from the data set's recipe.

    A path is that of a folder of images, an .npy or .npz array, or an IDX file. On several GPUs or
    machines: torchrun --nproc-per-node=N -m fastgan train ...
    """
    given = {
        "steps": steps,
        "batch_size": batch_size,
        "latent_dim": latent_dim,
        "latent": latent,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "discriminator_learning_rate": discriminator_learning_rate,
        "objective": objective,
        "real_label": real_label,
        "generator_loss": generator_loss,
        "diversity_ratio": diversity_ratio,
        "balance_rate": balance_rate,
        "discriminator_steps": discriminator_steps,
        "update": update,
        "pack": pack,
        "instance_noise": instance_noise,
        "r1_gamma": r1_gamma,
        "r2_gamma": r2_gamma,
        "gp_weight": gp_weight,
        "dragan_weight": dragan_weight,
        "penalty_interval": penalty_interval,
        "gradient_clip": gradient_clip,
        "precision": precision,
        "seed": seed,
        "device": device,
        "steps_per_replay": steps_per_replay,
        "log_interval": log_interval,
        "sample_interval": sample_interval,
        "checkpoint_interval": checkpoint_interval,
        "checkpoint_minutes": checkpoint_minutes,
        "keep": keep,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if data and moved:
        fail(f"--data {moved}: DATA is {data} already; leave one of them away")
    data = data or moved
    if recipe and model:
        fail(f"--recipe {recipe} has networks of its own; leave --model away")
    if resume is None:
        source = data or "ring"
        framing = Framing(size, cast("Crop", crop or "center"), flip)
        dataset, feed = _read(source, data_dir, framing, stream=stream)
        chosen = published_recipe(recipe, dataset) if recipe else recipe_for(dataset, objective, model)
        chosen = replace(chosen, config=replace(chosen.config, **changes))
        config = RunConfig.of(source, dataset, chosen, framing)
        config = replace(config, data_dir=str(data_dir.absolute()) if data_dir else None)
    else:
        if out or recipe or model or size or crop or flip:
            fail(
                f"{resume}: goes on as it began, in its own folder; leave --model, --recipe, --size, --crop, "
                "--flip and --out away"
            )
        before = with_data(resume, read_config(resume, device), data, data_dir)
        if stream and before.stream is False:
            fail(f"{resume}: did not stream its data; leave --stream away")
        config = replace(before, training=replace(before.training, **changes))
        _end_if_finished(resume, config)
        if config.training.steps != before.training.steps:
            say(
                f"{config.training.steps:,} steps in place of {before.training.steps:,}, with their schedules"
            )
        dataset, feed = _read(
            config.data, config.data_path, config.framing, stream=stream or bool(config.stream)
        )
    config = replace(config, workers=config.workers if workers is None else workers)
    say(_decided(config, len(feed or dataset.samples)))
    _warn_of(config.training)
    with joined(torch.device(config.training.device)) as world:
        progress = shown_on(console, config.training.steps, every_row=log_interval is not None)
        with progress:
            callbacks = [progress]
            if resume is None:
                outcome = train_run(out, dataset, config, callbacks, feed=feed, world=world)
            else:
                outcome = resume_run(resume, dataset, config, callbacks, feed=feed, world=world)
    if outcome.folder is not None:
        _print_outcome(outcome.folder, outcome)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _read(
    source: str, data_dir: Path | None, framing: Framing, *, stream: bool
) -> tuple[Dataset, Streaming | None]:
    with console.status(f"reading {source}") if can_animate(console) else nullcontext():
        return open_stream(source, framing) if stream else (load(source, data_dir, framing), None)


def _end_if_finished(folder: Path, config: RunConfig) -> None:
    done = step_of_finished(folder, config)
    if done is not None:
        say(f"nothing to do: {folder} has been trained for {done:,} steps; give --steps a larger number")
        raise typer.Exit


def _warn_of(config: TrainConfig) -> None:
    if config.objective == "wasserstein" and not any(getattr(config, name) for name in PENALTIES):
        warn("nothing keeps D Lipschitz, which wasserstein needs; give --gp-weight 10 --penalty-interval 1")


def _decided(config: RunConfig, count: int) -> str:
    """What the run will be of, in a line."""
    first, *size = config.sample_shape
    if not size:
        return f"{config.title}: {count:,} points of {first} axes, model {config.model}"
    kind, framing = "RGB" if first == 3 else "grey", config.framing
    framed = [f"{framing.crop} crop"] if framing.size else []
    framed += ["mirrored at random"] if framing.flip else []
    how = f" ({', '.join(framed)})" if framed else ""
    height, width = size
    return f"{config.title}: {count:,} {kind} images of {width} x {height} pixels{how}, model {config.model}"


def _print_outcome(folder: Path, outcome: Outcome) -> None:
    summary = outcome.summary
    typed = shlex.quote(str(folder))
    verb = "stopped" if outcome.interrupted else "trained"
    lines = [f"{verb} at step {summary['steps']:,} after {summary['seconds']:.0f} s"]
    if "modes" in summary:
        lines.append(
            f"modes covered {summary['modes_covered']} of {summary['modes']}, "
            f"{summary['high_quality']:.1%} of samples within 3 sigma of one"
        )
    for alarm in summary["alarms"]:
        lines.append(f"alarm       {Alarm(**alarm)}")
    lines += [
        f"picture     {folder / 'dashboard.png'}",
        f"everything  {folder} (samples-*.png, metrics.jsonl, checkpoint, config.yaml)",
        f"next        fastgan sample {typed}, or tensorboard --logdir {typed}",
    ]
    if outcome.interrupted:
        lines.append(f"go on       fastgan train --resume {typed}")
    for line in lines:
        say(line)
