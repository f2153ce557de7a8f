"""Fuses layers of an existing model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan.applying import Owner
from fastgan.fusion.classes import APPLIED, BETWEEN, become, fused_class, owner_class, plain_class
from fastgan.fusion.pairs import find
from fastgan.fusion.places import places
from fastgan.fusion.snakes import find_snakes, is_fused_snake
from fastgan.nn import AntiAliasedSnake, Applied, PassesOn, Snake, WithLeakyReLU, slope_of

__all__ = ["Report", "fuse", "fuse_snakes", "report", "unfuse"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def fuse(module: ModuleT, example_input: Any = None) -> ModuleT:
    """Fuse each linear layer, convolution or batch norm with the LeakyReLU or ReLU after it, in place.

    The Snakes of bigvgan, dac, stable_audio_tools and alias_free_torch are fused too, if they are between
    resampling filters then with the filters.

    Layers and activations remain the same objects; only their classes change. So Parameters, state_dict
    keys, optimizers, checkpoints, parametrizations (spectral and weight norm), pre-hooks, training mode and
    memory format are kept, also in DistributedDataParallel or AveragedModel.

    An activation may also be a call of ``F.leaky_relu`` or ``F.relu`` in a forward. Then the module with that
    forward gets a class that skips the call, and computes as before under torch.compile.

    A pair is fused if the activation is the only consumer of the layer's output in every call, and nothing
    later writes into the result. The calls are found in ``nn.Sequential`` and by tracing the surrounding
    modules with torch.fx. Everything else is left unchanged; :func:`report` gives the reasons.

    Args:
        module: searched at every depth.
        example_input: the argument of a call of ``module``, or a tuple of several. If given, the module is
            called with it in training and evaluation mode instead of being traced, for a forward that
            torch.fx cannot trace. Calls that only another input would make are not seen.

    Returns:
        ``module`` itself. Emits a UserWarning if nothing is fused.
    """
    has_snakes = fuse_snakes(module)
    pairs, functions, _ = find(module, example_input)
    modules = dict(module.named_modules(remove_duplicate=False))
    for layer, pair in pairs.items():
        home, held = places(modules, layer, pair.activations)
        become(layer, fused_class(type_before_parametrizations(layer)))
        slope = slope_of(pair.activations[0])
        vars(layer).update(negative_slope=slope, applied=(*pair.activations, *pair.between))
        vars(layer).update(home=home, held=held)
        _pass_on(pair.between, layer)
        for activation in pair.activations:
            if not isinstance(activation, Applied):  # of several layers
                become(activation, APPLIED[type(activation)])
            vars(activation).setdefault("layers", ())
            vars(activation)["layers"] += (layer,)
    for layer, call in functions.items():
        home, _ = places(modules, layer, call.owners)
        become(layer, fused_class(type_before_parametrizations(layer)))
        vars(layer).update(negative_slope=call.negative_slope, owners=call.owners, home=home)
        _pass_on(call.between, layer)
        for owner in call.owners:
            if not isinstance(owner, Owner):
                become(owner, owner_class(type(owner)))
    if not has_snakes and not pairs and not functions:
        found = report(module, example_input)
        if not found.fused:
            warnings.warn(
                "fastgan.fuse found no layer to fuse with an nn.LeakyReLU or nn.ReLU, and no Snake; nothing "
                "has changed\n"
                f"{found}",
                stacklevel=2,
            )
    return module


def fuse_snakes(module: nn.Module) -> bool:
    """Fuse the published Snakes of a model; return whether there were any."""
    snakes, _ = find_snakes(module)
    for snake in snakes:
        become(snake, fused_class(type_before_parametrizations(snake)))
    return bool(snakes)


def _pass_on(between: Iterable[nn.Module], layer: nn.Module) -> None:
    """Let the dropouts between a layer and its activation pass on that the layer has applied it."""
    for each in between:
        if type(each) in BETWEEN:
            become(each, BETWEEN[type(each)])
        if isinstance(each, PassesOn):
            vars(each).setdefault("layers", ())
            vars(each)["layers"] += (layer,)


def unfuse(module: ModuleT) -> ModuleT:
    """Undo :func:`fuse`: layers and activations get back their classes, always both of a pair.

    Args:
        module: the module given to ``fuse``, a copy of it, or a module that contains it.

    Returns:
        ``module`` itself.
    """
    fused = list(module.modules())
    for each in fused:
        if isinstance(each, (Applied, PassesOn)):
            become(each, plain_class(each))
            fused += vars(each).pop("layers")
        elif isinstance(each, Owner) or is_fused_snake(each):
            become(each, plain_class(each))
        elif isinstance(each, WithLeakyReLU) and each.owners:
            del each.negative_slope, each.home, each.owners
            become(each, plain_class(each))
        elif isinstance(each, WithLeakyReLU) and each.applied:
            fused += vars(each).pop("applied")
            del each.negative_slope, each.home, each.held
            become(each, plain_class(each))
    return module


@dataclass(frozen=True)
class Report:
    """A printable report: what is fused in a model, what can be fused, and why the rest cannot.

    Attributes:
        fused: name of each fused layer -> its class.
        fusable: name of each layer that can be fused -> name of its activation, or of the function.
        left: name of a LeakyReLU, ReLU or Snake, or of a layer before a function call -> reason.
    """

    fused: dict[str, str]
    fusable: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(
            [f"fused    {name}: {cls}" for name, cls in self.fused.items()]
            + [f"fusable  {layer} with {activation}" for layer, activation in self.fusable.items()]
            + [f"left     {name}: {reason}" for name, reason in self.left.items()]
            or ["no nn.LeakyReLU, no nn.ReLU and no Snake"]
        )


def report(module: nn.Module, example_input: Any = None) -> Report:
    """Report what :func:`fuse` did or would do to a model, without changing it. Arguments as for ``fuse``.

    >>> print(report(fuse(nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)))))
    fused    0: LinearLeakyReLU
    """
    names = {each: name for name, each in module.named_modules()}
    pairs, functions, left = find(module, example_input)
    snakes, left_snakes = find_snakes(module)
    return Report(
        {
            name: type_before_parametrizations(each).__name__
            for each, name in names.items()
            if isinstance(each, (WithLeakyReLU, Snake, AntiAliasedSnake))
        },
        {names[layer]: names[pair.activations[0]] for layer, pair in pairs.items()}
        | {names[layer]: call.name for layer, call in functions.items()}
        | {names[snake]: operation for snake, operation in snakes.items()},
        left | left_snakes,
    )
