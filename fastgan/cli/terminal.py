"""What the commands print, and how they end."""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended

console = Console(markup=False)  # else it swallows what stands in brackets, in paths and extras


def warn(message: str) -> None:
    """Say on one line of stderr what is probably not meant."""
    print(f"fastgan: warning: {message}", file=sys.stderr)


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    print(f"fastgan: {message}", file=sys.stderr)
    raise SystemExit(code)
