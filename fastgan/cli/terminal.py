"""Output and exit of the commands."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

BAD_INPUT = 2
FAILED = 1


class _StandardOutput:
    """Standard output that ignores closed terminals and pipes, so that a run continues."""

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
            # discard the buffered text too: otherwise Python would fail when it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file().fileno())
            return None

    @staticmethod
    def _file() -> Any:
        # rich replaces sys.stdout while it shows a bar; write to the real file
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


Best = Annotated[bool, typer.Option("--best", help="Use the checkpoint with the lowest FID.")]
"""The option for commands that read a run's latest checkpoint otherwise."""

_is_first = os.environ.get("RANK", "0") == "0"  # first of the processes that torchrun started
# markup would swallow brackets, as in paths
console = Console(
    file=_StandardOutput(),  # type: ignore[arg-type]
    markup=False,
    emoji=False,  # `file.npz:a:` must stay as it is
    quiet=not _is_first,
)


def say(line: str) -> None:
    """Print a line without wrapping, in the first process only."""
    console.print(line, highlight=False, soft_wrap=True)


class _Says(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def saying(logger: logging.Logger) -> Iterator[None]:
    """Print what is logged inside the context, from INFO up."""
    handler, level = _Says(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def warn(message: str) -> None:
    """Print a warning on one line of stderr, in the first process only."""
    if _is_first:
        print(f"fastgan: warning: {message}", file=sys.stderr)


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    with suppress(OSError):  # the terminal may be gone
        print(f"fastgan: {message}", file=sys.stderr)
    raise SystemExit(code)
