"""The tables of losses in docstrings, from the rows of :data:`~fastgan.kernels.logit_losses.LOSSES`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from fastgan.kernels.logit_losses import LOSSES

_Function = TypeVar("_Function", bound=Callable[..., object])


def _of_discriminator() -> list[str]:
    rows = (f'| "{name}" | {" | ".join(row.formulas)} | {row.source} |' for name, row in LOSSES.items())
    return ["| loss | term of r | term of f | source |", "|---|---|---|---|", *rows]


def _of_generator() -> list[str]:
    """G minimizes what D minimizes on real samples, so r becomes f."""
    real = {name: re.sub(r"\br\b", "f", LOSSES[row.generator].formulas[0]) for name, row in LOSSES.items()}
    rows = (f'| "{name}" | {real[name]} | {row.source} |' for name, row in LOSSES.items())
    return ["| loss | term of f | source |", "|---|---|---|", *rows]


_TABLES = {"{losses of D}": _of_discriminator(), "{losses of G}": _of_generator()}


def with_table_of_losses(function: _Function) -> _Function:
    """Decorator: puts the table in place of its name in the docstring."""
    for name, lines in _TABLES.items():
        if function.__doc__:  # python -OO has none
            function.__doc__ = function.__doc__.replace(name, "\n    ".join(lines))
    return function
