"""What the commands print, and how they end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

from rich.console import Console

BAD_INPUT = 2
FAILED = 1


class _StandardOutput:
    """Standard output while somebody reads it. A run goes on when its terminal or pipe is closed."""

    def write(self, text: str) -> int:
        return self._while_open("write", text) or len(text)

    def flush(self) -> None:
        self._while_open("flush")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file(), name)

    def _while_open(self, name: str, *arguments: str) -> Any:
        try:
            return getattr(self._file(), name)(*arguments)
        except OSError:
            # what the file still holds goes nowhere too, or Python would fail at its own end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file().fileno())
            return None

    @staticmethod
    def _file() -> Any:
        # while a bar is there, prints go above it
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


_is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
# with markup it would swallow what stands in brackets, in paths and extras
console = Console(
    file=_StandardOutput(),  # type: ignore[arg-type]
    markup=False,
    emoji=False,  # file.npz:a: is a name
    quiet=not _is_first,
)


def say(line: str) -> None:
    """Print a line, in the first process alone; a long one is not broken."""
    console.print(line, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Say on one line of stderr what is probably not meant, in the first process alone."""
    if _is_first:
        print(f"fastgan: warning: {message}", file=sys.stderr)


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    with suppress(OSError):  # the terminal may be gone
        print(f"fastgan: {message}", file=sys.stderr)
    raise SystemExit(code)
