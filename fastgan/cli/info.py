"""``fastgan info``."""

from __future__ import annotations

import platform

import torch
from rich.table import Table

from fastgan import __version__, kernels
from fastgan.cli.terminal import console
from fastgan.kernels.forcing import forced_in_words


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
    table.add_row("backend asked for", forced_in_words())
    if "cpu" in kernels.available_backends():
        table.add_row("instruction set", kernels.cpu.instruction_set())
    console.print(table)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
