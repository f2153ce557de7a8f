"""Options of ``fastgan train`` for the fields of TrainConfig, made from their metadata."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer
from rich.markup import escape

from fastgan.training.config import SETTINGS
from fastgan.training.setting import Setting


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's ``**settings`` by an option for each setting; None if it is not given."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [_option(about) for about in SETTINGS.values()]
    command.__dict__["__signature__"] = signature.replace(parameters=[*own, *options])
    return command


def _option(about: Setting) -> inspect.Parameter:
    option = typer.Option(
        help=escape(about.summary),
        rich_help_panel=about.panel,
        metavar="<pair>" if get_origin(about.kind) is tuple else None,
    )
    kind: Any = Annotated[about.kind | None, option]
    return inspect.Parameter(about.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
