"""Swapping fused layers into a model that is already there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from fastgan.fusion.classes import become, fused_class, plain_class
from fastgan.fusion.pairs import find
from fastgan.fusion.places import places
from fastgan.nn import AppliedLeakyReLU, WithLeakyReLU

__all__ = ["Report", "fuse", "report", "unfuse"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def fuse(module: ModuleT, example_input: Any = None) -> ModuleT:
    """Fuse each linear layer or convolution with the ``nn.LeakyReLU`` that follows it, in place.

    Layers and activations stay the objects they are and change their class alone, so Parameters,
    state_dict keys, optimizers, checkpoints, parametrizations (spectral and weight norm), pre-hooks,
    training mode and memory format stay as well, in DistributedDataParallel or AveragedModel too.

    A pair is fused where the activation is the layer's one consumer at every call of either: neighbours
    in an ``nn.Sequential``, or as torch.fx traces the forward of the modules around them, followed by
    nothing that writes into the result. Everything else stays, and :func:`report` says why.

    Args:
        module: searched at every depth.
        example_input: the argument of a call of ``module``, or a tuple of several. Calls with it, in training
            and in evaluation mode, are watched in place of tracing, which not every forward allows. What
            another input would do differently is not seen.

    Returns:
        ``module`` itself. A UserWarning says if nothing is fused.
    """
    pairs, _ = find(module, example_input)
    modules = dict(module.named_modules(remove_duplicate=False))
    for layer, pair in pairs.items():
        home, held = places(modules, layer, pair.activations)
        become(layer, fused_class(type_before_parametrizations(layer)))
        slope = pair.activations[0].negative_slope
        vars(layer).update(negative_slope=slope, applied=(*pair.activations, *pair.between))
        vars(layer).update(home=home, held=held)
        for activation in pair.activations:
            become(activation, AppliedLeakyReLU)
            vars(activation).setdefault("layers", ())
            vars(activation)["layers"] += (layer,)
    if not pairs:
        found = report(module, example_input)
        if not found.fused:
            warnings.warn(
                f"fastgan.fuse found no layer to fuse with an nn.LeakyReLU; nothing has changed\n{found}",
                stacklevel=2,
            )
    return module


def unfuse(module: ModuleT) -> ModuleT:
    """Undo :func:`fuse`: layers and activations get back the classes they had, both of a pair always.

    Args:
        module: what was given to ``fuse``, or a copy of it, or a module around it.

    Returns:
        ``module`` itself.
    """
    fused = list(module.modules())
    for each in fused:
        if type(each) is AppliedLeakyReLU:
            become(each, nn.LeakyReLU)
            fused += vars(each).pop("layers")
        elif isinstance(each, WithLeakyReLU) and each.applied:
            fused += vars(each).pop("applied")
            del each.negative_slope, each.home, each.held
            become(each, plain_class(each))
    return module


@dataclass(frozen=True)
class Report:
    """What is fused in a model, what :func:`fuse` would fuse, and why it leaves the rest; printable.

    ``fused`` maps a fused layer's name to its class, ``fusable`` a layer's to that of its activation, and
    ``left`` the name of a leaky ReLU, or of the layer before one that is a function call, to the reason.
    """

    fused: dict[str, str]
    fusable: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(
            [f"fused    {name}: {cls}" for name, cls in self.fused.items()]
            + [f"fusable  {layer} with {activation}" for layer, activation in self.fusable.items()]
            + [f"left     {name}: {reason}" for name, reason in self.left.items()]
            or ["no nn.LeakyReLU"]
        )


def report(module: nn.Module, example_input: Any = None) -> Report:
    """What :func:`fuse` did to a model, or would do; changes nothing. Arguments are those of ``fuse``.

    >>> print(report(fuse(nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)))))
    fused    0: LinearLeakyReLU
    """
    names = {each: name for name, each in module.named_modules()}
    pairs, left = find(module, example_input)
    return Report(
        {
            name: type_before_parametrizations(each).__name__
            for each, name in names.items()
            if isinstance(each, WithLeakyReLU)
        },
        {names[layer]: names[pair.activations[0]] for layer, pair in pairs.items()},
        left,
    )
