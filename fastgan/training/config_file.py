"""A run's config.yaml: settings by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from fastgan.files import write_text
from fastgan.training.config import SETTINGS, ConfigError

CONFIG = "config.yaml"


class RunError(ValueError):
    """A run's folder cannot be used; the message names it and the remedy."""


def write_config(folder: Path, content: dict[str, Any]) -> None:
    """Write settings by name; tuples become lists."""
    write_text(folder / CONFIG, yaml.safe_dump(plain(content), sort_keys=False))


@contextmanager
def naming_config(folder: Path) -> Iterator[None]:
    """Turn errors in a run's config.yaml into a RunError that names the file."""
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"{folder}: holds no {CONFIG}; give the folder of a run")
    try:
        yield
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); restore it") from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a configuration file, by name.

    Raises:
        ValueError: if it is not YAML, or not a mapping.
        OSError: if it cannot be read.
    """
    try:
        content = tuples(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{line}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(str(error).partition("\n")[0]) from error
    if content is None:
        raise ConfigError("it is empty")
    if not isinstance(content, dict):
        raise ConfigError(f"it holds {_kind(content)}, expected settings by name")
    return content


def known_settings(of: type, content: Any, name: str = "training") -> dict[str, Any]:
    """Check that ``content`` maps names of fields of a class to values, including all required fields.

    Raises:
        ConfigError: if it does not.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"{name} is {_kind(content)}, expected settings by name")
    known = {field.name: field for field in fields(of)}
    strangers = [str(name) for name in content if name not in known]
    if strangers:
        raise ConfigError(_unknown(strangers[0], known))
    missing = [name for name, field in known.items() if field.default is MISSING and name not in content]
    if missing:
        raise ConfigError(f"{missing[0]} is missing")
    return content


def _unknown(stranger: str, known: Iterable[str]) -> str:
    """The message for an unknown setting."""
    for name, about in SETTINGS.items():
        if about.formerly == stranger:
            return f"{stranger} is now called {name}"
    close = get_close_matches(stranger, known, n=1)
    return f"no setting is called {stranger}" + (
        f", but {close[0]} is" if close else "; another version of fastgan may know it"
    )


def _kind(content: object) -> str:
    """Describes a value from YAML."""
    names = {tuple: "a list", dict: "settings by name", type(None): "missing"}
    return names.get(type(content), repr(content))


def plain(value: Any) -> Any:
    """Tuples as lists, since YAML has no tuples."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def tuples(value: Any) -> Any:
    """Lists as tuples, back from YAML or JSON."""
    if isinstance(value, dict):
        return {key: tuples(entry) for key, entry in value.items()}
    return tuple(value) if isinstance(value, list) else value
