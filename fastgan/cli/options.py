"""The options of ``fastgan train`` that set fields of TrainConfig: one for each, made from its metadata."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer
from rich.markup import escape

from fastgan.training.config import SETTINGS
from fastgan.training.setting import Setting


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Show typer an option for each setting in place of the command's ``**settings``.

    The value of an option that is not given is None.
    """
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
