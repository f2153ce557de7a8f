"""Recognizes commands on tables, whose packages are optional."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from fastgan.cli.terminal import fail


def is_table(run: Path) -> bool:
    """Whether a folder is that of a run on a table, or was written by TabularGAN.save."""
    return (run / "table.json").is_file()


def tables() -> ModuleType:
    """:mod:`fastgan.cli.tables`; ends with a line that says what to install if that is missing."""
    try:
        return import_module("fastgan.cli.tables")
    except ImportError as error:
        fail(str(error))


def refuse(reason: str, **options: object) -> None:
    """Fail if any of these options is given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        fail(f"{reason}; omit {' and '.join('--' + name.strip('_').replace('_', '-') for name in given)}")
