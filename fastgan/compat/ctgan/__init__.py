"""CTGAN 0.12.1: its losses, and its class ``CTGAN``."""

from importlib import import_module
from typing import TYPE_CHECKING

from fastgan.compat.ctgan.losses import calc_gradient_penalty, discriminator_loss, generator_loss

if TYPE_CHECKING:
    from fastgan.compat.ctgan.synthesizer import CTGAN

__all__ = ["CTGAN", "calc_gradient_penalty", "discriminator_loss", "generator_loss"]


def __getattr__(name: str) -> object:
    """The class needs extras, which the losses do not."""
    if name != "CTGAN":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module("fastgan.compat.ctgan.synthesizer").CTGAN
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{__name__}.CTGAN needs {error.name}: pip install '.[tabular]' in fastgan's sources",
            name=error.name,
        ) from error
