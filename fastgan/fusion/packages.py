"""Fuses discriminators and Snakes of published packages as they are made, in scripts that stay unchanged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from fastgan.fusion import fuse, fuse_snakes
from fastgan.fusion.snakes import snake_class


class Network(NamedTuple):
    """A discriminator or Snake, and an example input's shape where torch.fx cannot trace its forward."""

    module: str
    name: str
    example: tuple[int, ...] | None = None


SOUND = (1, 1, 8192)
PACKAGES = {
    "basicsr": [Network("basicsr.archs.discriminator_arch", "UNetDiscriminatorSN")],
    "bigvgan": [
        Network("bigvgan.discriminators", "DiscriminatorP", SOUND),
        Network("bigvgan.discriminators", "DiscriminatorR", SOUND),
        Network("bigvgan.activations", "Snake"),
        Network("bigvgan.activations", "SnakeBeta"),
        Network("bigvgan.alias_free_activation.torch.act", "Activation1d"),
    ],
    "ctgan": [Network("ctgan.synthesizers.ctgan", "Discriminator")],
    "dac": [Network("dac.nn.layers", "Snake1d")],
    "parallel_wavegan": [
        Network("parallel_wavegan.models.hifigan", "HiFiGANPeriodDiscriminator", SOUND),
        Network("parallel_wavegan.models.hifigan", "HiFiGANScaleDiscriminator"),
        Network("parallel_wavegan.models.melgan", "MelGANDiscriminator"),
        Network("parallel_wavegan.models.parallel_wavegan", "ParallelWaveGANDiscriminator"),
    ],
    "stable_audio": [
        Network("stable_audio_tools.models.blocks", "SnakeBeta"),
        Network("alias_free_torch.act", "Activation1d"),
    ],
    "vocos": [Network("vocos.discriminators", "DiscriminatorP", (1, 8192))],
}
_patched: dict[str, list[tuple[type[nn.Module], Callable[..., None]]]] = {}


def patch(package: str) -> None:
    """Fuse discriminators and Snakes of a package as they are made from now on, as :func:`fastgan.fuse` does.

    For scripts that make their networks where you would rather not change the code. Known are discriminators
    of basicsr, bigvgan, ctgan, parallel_wavegan and vocos, and the Snakes in generators of bigvgan, dac and
    stable_audio (stable_audio_tools with alias_free_torch). Subclasses of them stay as they are.

    Args:
        package: one of these names.

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
        imported = PACKAGES[package][0].module.partition(".")[0]
        raise ModuleNotFoundError(
            f"fastgan.patch({package!r}) imports {imported}, but {error.name} is not installed; install it "
            f"or patch one of the others: {', '.join(PACKAGES)}"
        ) from error
    _patched[package] = [(cls, cls.__init__) for cls, _ in found]
    for cls, network in found:
        cls.__init__ = _fusing(cls, network.example)


def unpatch(package: str) -> None:
    """Undo :func:`fastgan.patch`. Networks made before stay fused; for those, ``unfuse``.

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

    def make(module: nn.Module) -> None:
        if snake_class(cls) is None:
            fuse(module, None if example is None else torch.zeros(example))
        else:
            fuse_snakes(module)  # without the time to trace it

    @functools.wraps(init)
    def run(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:  # a subclass may add layers after this
            make(self)

    return run
