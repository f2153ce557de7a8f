"""``fastgan info``."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from fastgan import __version__, kernels
from fastgan.cli.terminal import console
from fastgan.kernels.forcing import forced_in_words
from fastgan.training.memory import read_peak
from fastgan.training.run import read_config


def info(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run, to show its classes and peak memory.")
    ] = None,
) -> None:
    """Show versions, devices and backends, and why a backend is missing; or a run's classes and memory."""
    table = Table("", "", show_header=False, box=None)
    if run is None:
        _add_installed(table)
    else:
        _add_run(table, run)
    console.print(table)


def _add_installed(table: Table) -> None:
    table.add_row("fastgan", __version__)
    table.add_row("torch", torch.__version__)
    table.add_row("python", f"{platform.python_version()} on {platform.machine()}")
    table.add_row("threads", str(torch.get_num_threads()))
    table.add_row("device", _device())
    for backend, why_not in kernels.report():
        table.add_row(f"backend {backend}", why_not or "available")
    table.add_row("backend asked for", forced_in_words())
    if "cpu" in kernels.available_backends():
        table.add_row("instruction set", kernels.cpu.instruction_set())


def _add_run(table: Table, folder: Path) -> None:
    config = read_config(folder, device="cpu")  # raises an error if it is no run
    if config.num_classes:
        named = ", ".join(f"{number} {name!r}" for number, name in enumerate(config.class_names))
        table.add_row("classes", named or str(config.num_classes))
    peak = read_peak(folder)
    table.add_row("peak memory", "recorded with the next checkpoint" if peak is None else _size(peak.process))
    if peak is not None and peak.gpu is not None:
        table.add_row("peak memory of the GPU", _size(peak.gpu))


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
