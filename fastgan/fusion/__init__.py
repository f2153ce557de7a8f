"""Swapping fused layers into a model that is already there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from fastgan.fusion.pairs import FUSED, find
from fastgan.nn import AppliedLeakyReLU

__all__ = ["Report", "fuse", "report", "unfuse"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_PLAIN = {fused: plain for plain, fused in FUSED.items()}
_SWAPPED = (
    "swapped_by_fuse"  # set on the instance: a fused layer that was built as one has no activation behind it
)


def fuse(module: ModuleT) -> ModuleT:
    """Fuse each linear layer or convolution with the ``nn.LeakyReLU`` that follows it, in place.

    Layers and activations stay the objects they are and change their class alone, so Parameters,
    state_dict keys, optimizers, checkpoints, parametrizations (spectral and weight norm), pre-hooks,
    training mode and memory format stay as well, in DistributedDataParallel or AveragedModel too.

    A pair is fused where the activation is the layer's one consumer at every call of either: neighbours
    in an ``nn.Sequential``, or as torch.fx traces the forward of the modules around them, followed by
    nothing that writes into the result. Everything else stays, and :func:`report` says why.

    Args:
        module: searched at every depth.

    Returns:
        ``module`` itself. A UserWarning says if nothing is fused.
    """
    pairs, _ = find(module)
    for layer, activation in pairs.items():
        _become(layer, FUSED[type_before_parametrizations(layer)])
        vars(layer).update({_SWAPPED: True, "negative_slope": activation.negative_slope})
        _become(activation, AppliedLeakyReLU)
    if not pairs:
        found = report(module)
        if not found.fused:
            warnings.warn(
                f"fastgan.fuse found no layer to fuse with an nn.LeakyReLU; nothing has changed\n{found}",
                stacklevel=2,
            )
    return module


def unfuse(module: ModuleT) -> ModuleT:
    """Undo :func:`fuse`: layers and activations get back the classes they had.

    Args:
        module: what was given to ``fuse``, or a copy of it, or a module around it.

    Returns:
        ``module`` itself.
    """
    for each in module.modules():
        if vars(each).pop(_SWAPPED, False):
            _become(each, _PLAIN[type_before_parametrizations(each)])
            del each.negative_slope
        elif type(each) is AppliedLeakyReLU:
            _become(each, nn.LeakyReLU)
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


def report(module: nn.Module) -> Report:
    """What :func:`fuse` did to a model, or would do; changes nothing.

    >>> print(report(fuse(nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)))))
    fused    0: LinearLeakyReLU
    """
    names = {each: name for name, each in module.named_modules()}
    pairs, left = find(module)
    return Report(
        {
            name: type_before_parametrizations(each).__name__
            for each, name in names.items()
            if type_before_parametrizations(each) in _PLAIN
        },
        {names[layer]: names[activation] for layer, activation in pairs.items()},
        left,
    )


def _become(module: nn.Module, cls: type[nn.Module]) -> None:
    """Change a module's class; that of a parametrized one is below the class of its parametrizations."""
    if is_parametrized(module):
        members = {k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__")}
        cls = type(f"Parametrized{cls.__name__}", (cls,), members)
    module.__class__ = cls
