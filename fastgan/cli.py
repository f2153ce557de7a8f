"""The command line: ``fastgan train``, and what can be done with a run."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch

from fastgan import __version__, kernels

try:
    import typer
    from rich.console import Console
    from rich.table import Table

    from fastgan.data import DataError, load
    from fastgan.data import stream as open_stream
    from fastgan.plots import save_objectives, save_samples
    from fastgan.training import checkpoint
    from fastgan.training.alarms import Alarm
    from fastgan.training.config import ConfigError
    from fastgan.training.distributed import LostRankError, joined
    from fastgan.training.evaluation import evaluate as evaluate_run
    from fastgan.training.export import SUFFIXES, ExportError
    from fastgan.training.export import export as export_generator
    from fastgan.training.progress import ProgressBar
    from fastgan.training.recipes import published_recipe, recipe_for
    from fastgan.training.run import RunConfig, RunError, load_generator, read_config
    from fastgan.training.sampling import interpolation
    from fastgan.training.sampling import sample as draw_samples
    from fastgan.training.session import Outcome, resume_run, train_run
    from fastgan.training.state import DivergenceError
except ModuleNotFoundError as missing:
    print(
        f"fastgan: the command line needs {missing.name}: pip install 'fastgan[train]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

# the base of what typer raises for wrong usage: click's class, or that of the copy newer versions bring
_UsageError: Any = typer.BadParameter.__mro__[1]
_BAD_INPUT = 2
_FAILED = 1
_INTERRUPTED = 130  # as a shell reports a program that SIGINT ended
_COUNTS = ("step", "modes covered", "modes")
_PICTURES = (".png", ".pdf", ".svg", ".jpg")

app = typer.Typer(
    help="Train GANs on fused kernels.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
plot = typer.Typer(help="Draw what needs no run.", rich_markup_mode=None)
app.add_typer(plot, name="plot")
_console = Console(markup=False)  # else it swallows what stands in brackets, in paths and extras


@app.command()
def train(
    data: Annotated[
        str | None, typer.Argument(help="ring (the default), grid, digits, mnist, stacked, or a path.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="As published: pacgan, goodfellow2014 or unrolled, for the data set's own."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="mlp, or dcgan for images.")] = None,
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
    r1_interval: Annotated[int | None, typer.Option(help="Steps between two penalties.")] = None,
    gradient_clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, tf32 or bf16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, batches and noise.")] = None,
    device: Annotated[str | None, typer.Option(help="As in torch.device.")] = None,
    steps_per_replay: Annotated[int | None, typer.Option(help="Steps a CUDA graph holds.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between two checkpoints.")] = None,
    keep: Annotated[int | None, typer.Option(help="How many checkpoints stay.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder; else runs/DATA-NUMBER.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run of this folder.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Leave the data on the disk.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read streamed data.")] = 2,
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
        "r1_interval": r1_interval,
        "gradient_clip": gradient_clip,
        "precision": precision,
        "seed": seed,
        "device": device,
        "steps_per_replay": steps_per_replay,
        "checkpoint_interval": checkpoint_every,
        "keep": keep,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    before = None if resume is None else read_config(resume, device)
    if before is not None and (out or recipe or model or data not in (None, before.data)):
        _fail(
            f"{resume}: was trained on {before.data} and goes on in its own folder; "
            "leave DATA, --model, --recipe and --out away"
        )
    if recipe and model:
        _fail(f"--recipe {recipe} has networks of its own; leave --model away")
    source = data or ("ring" if before is None else before.data)
    dataset, feed = open_stream(source) if stream else (load(source, data_dir), None)
    if before is None:
        chosen = (
            published_recipe(recipe, dataset) if recipe else recipe_for(dataset, objective, model or "mlp")
        )
        config = RunConfig.of(source, dataset, replace(chosen, config=replace(chosen.config, **changes)))
    else:
        config = replace(before, training=replace(before.training, **changes))
    with joined(torch.device(config.training.device)) as world:
        progress = ProgressBar(_console, config.training.steps)
        with progress:
            callbacks = [progress]
            if resume is None:
                outcome = train_run(out, dataset, config, callbacks, feed=feed, workers=workers, world=world)
            else:
                outcome = resume_run(
                    resume, dataset, config, callbacks, feed=feed, workers=workers, world=world
                )
    if outcome.folder is not None:
        _print_outcome(outcome.folder, outcome)
    if outcome.interrupted:
        raise typer.Exit(_INTERRUPTED)


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int, typer.Option(min=1, help="How many samples.")] = 64,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("samples.png"),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the noise.")] = 0,
) -> None:
    """Draw samples from a trained generator."""
    _check_picture(out)
    config, generator = load_generator(run)
    training = config.training
    samples = draw_samples(generator, count, training.latent_dim, seed, training.latent)
    save_samples(out, samples, config.scale, f"{config.data}, {count:,} samples")
    _console.print(f"{count} samples of {run} are in {out}", soft_wrap=True)


@app.command()
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
    _console.print(table)


@app.command()
def interpolate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=2, max=32, help="Pairs, and samples from one to the other.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the noise.")] = 0,
) -> None:
    """Draw what lies between samples, a row a pair."""
    _check_picture(out)
    config, generator = load_generator(run)
    training = config.training
    samples = interpolation(generator, rows, training.latent_dim, seed, training.latent)
    save_samples(out, samples, config.scale, f"{config.data}, {rows} interpolations")
    _console.print(f"{rows} interpolations of {run} are in {out}", soft_wrap=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    format: Annotated[str, typer.Option(help="onnx, torch-export or safetensors.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, of safetensors a folder; else generator.onnx or the like."),
    ] = None,
) -> None:
    """Write the generator for other programs, and check it by running it.

    As a file that needs no fastgan, or as a folder with model.safetensors and config.json, which
    fastgan.models.pretrained.load reads.
    """
    if format not in SUFFIXES:
        _fail(f"--format {format}: unknown, expected {' or '.join(SUFFIXES)}")
    config, generator = load_generator(run)
    path = out or Path(f"generator{SUFFIXES[format]}")
    export_generator(generator, config, path, format)
    latent_dim = config.training.latent_dim
    _console.print(f"{path}: from latent [N, {latent_dim}] to samples, checked", soft_wrap=True)


@plot.command()
def objectives(
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("objectives.png"),
) -> None:
    """Draw the generator's two losses and their gradients, against D(G(z)) and its logit."""
    _check_picture(out)
    save_objectives(out)
    _console.print(f"the generator's objectives are in {out}", soft_wrap=True)


@app.command()
def info() -> None:
    """Show versions, devices and backends, and why a backend is missing."""
    table = Table("", "", show_header=False, box=None)
    table.add_row("fastgan", __version__)
    table.add_row("torch", torch.__version__)
    table.add_row("python", f"{platform.python_version()} on {platform.machine()}")
    table.add_row("threads", str(torch.get_num_threads()))
    table.add_row("device", _device())
    for backend, why_not in kernels.report():
        table.add_row(f"backend {backend}", why_not or "available")
    if "cpp" in kernels.available_backends():
        table.add_row("instruction set", kernels.extension.instruction_set())
    _console.print(table)


def main() -> None:
    """Run the command line; bad input ends in one line on stderr and exit code 2."""
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except _UsageError as error:
        _fail(f"{_first_line(error.format_message())}; see fastgan --help")
    except (DataError, ConfigError, RunError, checkpoint.CheckpointError, OSError) as error:
        _fail(str(error))
    except (DivergenceError, ExportError, LostRankError) as error:
        _fail(str(error), _FAILED)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail("out of memory; lower --batch-size or --latent-dim, or --stream the data")
    if code == _INTERRUPTED:
        _fail("interrupted", _INTERRUPTED)
    raise SystemExit(code)


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in _PICTURES:
        _fail(f"{out}: unknown kind of picture; end the name in {', '.join(_PICTURES)}")


def _fail(message: str, code: int = _BAD_INPUT) -> NoReturn:
    print(f"fastgan: {message}", file=sys.stderr)
    raise SystemExit(code)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")


def _is_out_of_memory(error: Exception) -> bool:
    # on the CPU torch raises a plain RuntimeError
    messages = ("can't allocate memory", "not enough memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        message in str(error) for message in messages
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _print_outcome(folder: Path, outcome: Outcome) -> None:
    summary = outcome.summary
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
        f"next        fastgan sample {folder}, or tensorboard --logdir {folder}",
    ]
    if outcome.interrupted:
        lines.append(f"go on       fastgan train --resume {folder}")
    for line in lines:
        _console.print(line, highlight=False, soft_wrap=True)
