"""Metadata of a run's settings: type, range, help, and the objectives that use them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from inspect import cleandoc
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fastgan.kernels.logit_losses import LOSSES

OBJECTIVE_NAMES = (*LOSSES, "relativistic", "relativistic-average", "began")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Range:
    """Allowed numbers of a setting, and their description in messages."""

    words: str
    contains: Callable[[float], bool]


_MOST = 2**31 - 1
COUNT = Range(f"from 1 to {_MOST}", lambda count: 1 <= count <= _MOST)
COUNT_OR_NONE = Range(f"from 0 to {_MOST}", lambda count: 0 <= count <= _MOST)
SEVERAL = Range(f"from 2 to {_MOST}", lambda count: 2 <= count <= _MOST)
POSITIVE = Range("above 0 and finite", lambda value: 0 < value < math.inf)
NON_NEGATIVE = Range("at least 0 and finite", lambda value: 0 <= value < math.inf)
SHARE = Range("from 0 to 1", lambda share: 0 <= share <= 1)
POSITIVE_SHARE = Range("above 0, up to 1", lambda share: 0 < share <= 1)
MEAN_SIGN = Range("between -1 and 1", lambda sign: -1 < sign < 1)
DECAY = Range("from 0 to below 1", lambda decay: 0 <= decay < 1)
SEED = Range("from 0 to 2^63 - 1", lambda seed: 0 <= seed < 2**63)


@dataclass(frozen=True)
class Setting:
    """A field of :class:`fastgan.TrainConfig`.

    Attributes:
        name: name of the field.
        kind: type: int, float, bool, str, or a tuple of two floats.
        optional: whether None is allowed.
        default: default value.
        panel: heading in ``fastgan train --help``.
        text: sentences for the documentation; the first one is the help of the option.
        range: allowed numbers, or allowed elements of a tuple.
        choices: allowed strings; empty if there is no list.
        objectives: objectives that use the setting; with others it must keep its default.
        formerly: name in config.yaml of earlier versions.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    panel: str
    text: str
    range: Range = COUNT
    choices: tuple[str, ...] = ()
    objectives: tuple[str, ...] = OBJECTIVE_NAMES
    formerly: str | None = None

    @property
    def expected(self) -> str:
        """Describes the allowed values, for messages."""
        kinds = {
            bool: "True or False",
            int: f"a whole number {self.range.words}",
            float: f"a number {self.range.words}",
            str: f"a name such as {self.default}" if self.default else "a path",
        }
        return " or ".join(self.choices) or kinds.get(self.kind, f"two numbers {self.range.words}")

    @property
    def summary(self) -> str:
        """The first sentence of the text, with choices, range and objectives."""
        notes = [", ".join(self.choices)] if self.choices else []
        pair = "two numbers " if get_origin(self.kind) is tuple else ""
        notes += [pair + self.range.words] if self.range is not COUNT else []
        others = [name for name in OBJECTIVE_NAMES if name not in self.objectives]
        if len(self.objectives) < len(others):
            notes.append(f"only with {_listed(self.objectives)}")
        elif others:
            notes.append(f"not with {_listed(others)}")
        sentence = self.text.partition(". ")[0].rstrip(".")
        return f"{sentence} ({'; '.join(notes)})." if notes else f"{sentence}."

    @property
    def entry(self) -> str:
        """Name, summary and the rest of the text."""
        return f"{self.name}: {self.summary} {self.text.partition('. ')[2]}".rstrip()

    def accepts(self, value: Any) -> bool:
        """Whether the value has an allowed type, and is in the range or among the choices."""
        if value is None:
            return self.optional
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            return isinstance(value, str) and (value in self.choices or not self.choices)
        if get_origin(self.kind) is tuple:
            return isinstance(value, tuple) and len(value) == 2 and all(map(self._accepts_number, value))
        return self._accepts_number(value)

    def _accepts_number(self, value: Any) -> bool:
        return (is_whole(value) if self.kind is int else is_real(value)) and self.range.contains(value)


def setting(default: _T, panel: str, text: str, **more: Any) -> _T:
    """A dataclass field that is a setting; the arguments are attributes of :class:`Setting`."""
    return field(default=default, metadata={"panel": panel, "text": text, **more})


def settings_of(config: type) -> dict[str, Setting]:
    """The settings of a dataclass with fields made by :func:`setting`, by name."""
    hints = get_type_hints(config)
    return {each.name: _setting(each, hints[each.name]) for each in fields(config)}


def _setting(of: Field[Any], hint: Any) -> Setting:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    optional = NoneType in get_args(hint)
    kind, more = kinds[0] if optional else hint, dict(of.metadata)
    if get_origin(kind) is Literal:
        kind, more["choices"] = str, get_args(kind)
    return Setting(of.name, kind, optional, of.default, **more)


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def documented(config: type[_T]) -> type[_T]:
    """Decorator: adds the settings to a dataclass's docstring as attributes."""
    lines = [
        textwrap.fill(
            each.entry,
            width=100,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in settings_of(config).values()
    ]
    config.__doc__ = "\n".join([cleandoc(config.__doc__ or ""), "", "Attributes:", *lines])
    return config


def is_whole(value: object) -> bool:
    """Whether the value is an int, not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether the value is an int or a float, not a bool."""
    return is_whole(value) or isinstance(value, float)
