"""What every benchmark of ``make gpu-check`` is asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import DEVICE


def parse(name: str, description: str | None) -> tuple[Path, bool]:
    """The folder for results, made if need be, and whether a quick try is all that is wanted."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes, on the CPU where there is no GPU")
    options = parser.parse_args()
    if DEVICE == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick tries the benchmark itself on the CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    return options.out, options.quick
