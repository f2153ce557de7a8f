"""The command line: ``fastgan train``, and commands for runs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import torch

from fastgan import __version__
from fastgan._startup import INTERRUPTED

try:
    import typer

    from fastgan.cli.evaluate import evaluate
    from fastgan.cli.export import export
    from fastgan.cli.info import info
    from fastgan.cli.pictures import interpolate, objectives, sample
    from fastgan.cli.terminal import FAILED, fail
    from fastgan.cli.train import train
    from fastgan.data import DataError
    from fastgan.kernels.forcing import BackendError
    from fastgan.metrics.extractor import ExtractorError
    from fastgan.training.checkpoint import CheckpointError
    from fastgan.training.config import ConfigError
    from fastgan.training.config_file import RunError
    from fastgan.training.distributed import LostRankError
    from fastgan.training.export import ExportError
    from fastgan.training.state import DivergenceError
except ModuleNotFoundError as missing:
    print(
        f"fastgan: the command line needs {missing.name}: pip install '.[train]' in fastgan's sources",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

# the base class of typer's errors for wrong usage: click's, or that of the copy in newer versions
_UsageError: Any = typer.BadParameter.__mro__[1]

_OUT_OF_MEMORY = {
    "train": "out of memory; lower --batch-size or --latent-dim, or --stream the data",
    "sample": "out of memory; lower --count",
    "evaluate": "out of memory; lower --count",
    "interpolate": "out of memory; lower --rows",
}

_BAD_INPUT = BackendError, DataError, ConfigError, ExtractorError, RunError, CheckpointError, OSError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # for subcommands too
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fastgan {__version__}, torch {torch.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show versions and exit."),
    ] = False,
) -> None:
    """Train GANs on fused kernels."""


for command in (train, sample, evaluate, interpolate, export, info):
    app.command()(command)
plot = typer.Typer(help="Draw figures that need no run.", rich_markup_mode="rich")
plot.command()(objectives)
app.add_typer(plot, name="plot")


def main() -> None:
    """Run the command line. Bad input ends with one line on stderr and exit code 2."""
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except _UsageError as error:
        fail(f"{_first_line(error.format_message())}; see fastgan --help")
    except _BAD_INPUT as error:
        fail(str(error))
    except (DivergenceError, ExportError, LostRankError) as error:
        fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        fail(_OUT_OF_MEMORY.get("".join(sys.argv[1:2]), "out of memory"))
    if code == INTERRUPTED:
        fail("interrupted", INTERRUPTED)
    raise SystemExit(code)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")


def _is_out_of_memory(error: Exception) -> bool:
    # on the CPU torch raises a plain RuntimeError
    messages = ("can't allocate memory", "not enough memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        message in str(error) for message in messages
    )
