"""Fuses the discriminators of published packages as they are made, in scripts that stay unchanged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from fastgan.fusion import fuse


class Network(NamedTuple):
    """A class of a package, and the shape of an example input where torch.fx cannot trace its forward."""

    module: str
    name: str
    example: tuple[int, ...] | None = None


SOUND = (1, 1, 8192)
PACKAGES = {
    "basicsr": [Network("basicsr.archs.discriminator_arch", "UNetDiscriminatorSN")],
    "bigvgan": [
        Network("bigvgan.discriminators", "DiscriminatorP", SOUND),
        Network("bigvgan.discriminators", "DiscriminatorR", SOUND),
    ],
    "ctgan": [Network("ctgan.synthesizers.ctgan", "Discriminator")],
    "parallel_wavegan": [
        Network("parallel_wavegan.models.hifigan", "HiFiGANPeriodDiscriminator", SOUND),
        Network("parallel_wavegan.models.hifigan", "HiFiGANScaleDiscriminator"),
        Network("parallel_wavegan.models.melgan", "MelGANDiscriminator"),
        Network("parallel_wavegan.models.parallel_wavegan", "ParallelWaveGANDiscriminator"),
    ],
    "vocos": [Network("vocos.discriminators", "DiscriminatorP", (1, 8192))],
}
_patched: dict[str, list[tuple[type[nn.Module], Callable[..., None]]]] = {}


def patch(package: str) -> None:
    """Fuse the discriminators of a package as they are made from now on, as :func:`fastgan.fuse` does.

    For scripts that make their discriminators where you would rather not change the code. Discriminators of
    basicsr, bigvgan, ctgan, parallel_wavegan and vocos are known; subclasses of them stay as they are.

    Args:
        package: the name under which it is imported.

    Raises:
        ValueError: the package is not known.
        ModuleNotFoundError: it, or a package that it imports, is not installed.
        AttributeError: this version of the package has no such class.
    """
    if package not in PACKAGES:
        raise ValueError(f"package must be one of {', '.join(PACKAGES)}, but is {package!r}")
    if package in _patched:
        return
    try:
        found = [(getattr(import_module(each.module), each.name), each) for each in PACKAGES[package]]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"fastgan.patch({package!r}) imports {package}, but {error.name} is not installed; install it or "
            f"patch one of the others: {', '.join(PACKAGES)}"
        ) from error
    _patched[package] = [(cls, cls.__init__) for cls, _ in found]
    for cls, network in found:
        cls.__init__ = _fusing(cls, network.example)


def unpatch(package: str) -> None:
    """Undo :func:`fastgan.patch`. Discriminators made before stay fused; for those, ``unfuse``.

    Raises:
        ValueError: the package is not patched.
    """
    if package not in _patched:
        raise ValueError(
            f"package must be one that is patched, {', '.join(_patched) or 'now none'}, but is {package!r}"
        )
    for cls, init in _patched.pop(package):
        cls.__init__ = init  # type: ignore[method-assign]


def _fusing(cls: type[nn.Module], example: tuple[int, ...] | None) -> Callable[..., None]:
    init = cls.__init__

    @functools.wraps(init)
    def run(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:  # a subclass may add layers after this
            fuse(self, None if example is None else torch.zeros(example))

    return run
