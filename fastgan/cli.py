"""The command line: ``fastgan train``, ``fastgan sample`` and ``fastgan info``."""

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
    from fastgan.plots import save_samples
    from fastgan.training import checkpoint
    from fastgan.training.config import ConfigError
    from fastgan.training.progress import ProgressBar
    from fastgan.training.recipes import recipe_for
    from fastgan.training.run import RunConfig, RunError, load_generator
    from fastgan.training.sampling import sample as draw_samples
    from fastgan.training.session import Outcome, train_run
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
_DIVERGED = 1
_INTERRUPTED = 130  # as a shell reports a program that SIGINT ended
_PICTURES = (".png", ".pdf", ".svg", ".jpg")

app = typer.Typer(
    help="Train GANs on fused kernels.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_console = Console()


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(help="ring, grid, digits, mnist, or a folder, .npy, .npz or IDX file")
    ] = "ring",
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a batch.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Size of G's input.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's, of both players.")] = None,
    generator_loss: Annotated[str | None, typer.Option(help="non-saturating or saturating.")] = None,
    discriminator_steps: Annotated[int | None, typer.Option(help="Turns of D for each turn of G.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, batches and noise.")] = None,
    device: Annotated[str | None, typer.Option(help="As in torch.device.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder; else runs/DATA-NUMBER.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="FASTGAN_DATA", help="Where downloaded data lies.")
    ] = None,
) -> None:
    """Train a GAN. What is not given comes from the data set's recipe."""
    dataset = load(data, data_dir)
    recipe = recipe_for(dataset)
    given = {
        "steps": steps,
        "batch_size": batch_size,
        "latent_dim": latent_dim,
        "learning_rate": learning_rate,
        "generator_loss": generator_loss,
        "discriminator_steps": discriminator_steps,
        "seed": seed,
        "device": device,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    config = RunConfig.of(data, dataset, replace(recipe, config=replace(recipe.config, **changes)))
    with ProgressBar(_console, config.training.steps) as progress:
        outcome = train_run(out, dataset, config, [progress])
    _print_outcome(outcome)
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
    if out.suffix.lower() not in _PICTURES:
        _fail(f"{out}: unknown kind of picture; end the name in {', '.join(_PICTURES)}")
    config, generator = load_generator(run)
    samples = draw_samples(generator, count, config.training.latent_dim, seed)
    save_samples(out, samples, config.scale, f"{config.data}, {count:,} samples")
    _console.print(f"{count} samples of {run} are in {out}", soft_wrap=True)


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
    except DivergenceError as error:
        _fail(str(error), _DIVERGED)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail("out of memory; lower --batch-size or --latent-dim")
    if code == _INTERRUPTED:
        _fail("interrupted", _INTERRUPTED)
    raise SystemExit(code)


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


def _print_outcome(outcome: Outcome) -> None:
    folder, summary = outcome.folder, outcome.summary
    verb = "stopped" if outcome.interrupted else "trained"
    lines = [f"{verb} at step {summary['steps']:,} after {summary['seconds']:.0f} s"]
    if "modes" in summary:
        lines.append(
            f"modes covered {summary['modes_covered']} of {summary['modes']}, "
            f"{summary['high_quality']:.1%} of samples within 3 sigma of one"
        )
    lines += [
        f"picture     {folder / 'dashboard.png'}",
        f"everything  {folder} (samples-*.png, metrics.jsonl, checkpoint, config.yaml)",
        f"next        fastgan sample {folder}, or tensorboard --logdir {folder}",
    ]
    for line in lines:
        _console.print(line, highlight=False, soft_wrap=True)
