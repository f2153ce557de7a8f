"""The plain and fused classes of layers, and the change between them for :func:`fastgan.fuse`."""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from fastgan import nn as layers
from fastgan.applying import Owner, skipping
from fastgan.fusion.snakes import snake_class

FUSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: layers.LinearLeakyReLU,
    nn.Conv1d: layers.Conv1dLeakyReLU,
    nn.Conv2d: layers.Conv2dLeakyReLU,
    nn.Conv3d: layers.Conv3dLeakyReLU,
    nn.ConvTranspose1d: layers.ConvTranspose1dLeakyReLU,
    nn.ConvTranspose2d: layers.ConvTranspose2dLeakyReLU,
    nn.ConvTranspose3d: layers.ConvTranspose3dLeakyReLU,
    nn.BatchNorm1d: layers.BatchNorm1dLeakyReLU,
    nn.BatchNorm2d: layers.BatchNorm2dLeakyReLU,
}
APPLIED: dict[type[nn.Module], type[layers.Applied]] = {
    nn.LeakyReLU: layers.AppliedLeakyReLU,
    nn.ReLU: layers.AppliedReLU,
}
# Dropouts between: leaky_relu(dropout(x)) is dropout(leaky_relu(x)), as factors are not negative.
BETWEEN: dict[type[nn.Module], type[layers.PassesOn]] = {
    nn.Dropout: layers.DropoutBetween,
    nn.Dropout1d: layers.Dropout1dBetween,
    nn.Dropout2d: layers.Dropout2dBetween,
    nn.Dropout3d: layers.Dropout3dBetween,
}
# Weak on both sides: a class holds the whole script or notebook cell that defines it, with all its networks.
_Made = WeakKeyDictionary[type[nn.Module], ReferenceType[type[nn.Module]]]
_FUSED_SUBCLASSES: _Made = WeakKeyDictionary()
_OWNERS: _Made = WeakKeyDictionary()
# A fused class replaces these methods, so a layer that overrides one cannot be fused.
_REPLACED_METHODS = ("forward", "_conv_forward", "_output_padding", "__call__")


def why_no_fused_form(layer: nn.Module) -> str | None:
    """The reason why a layer cannot be fused; None if it can."""
    cls: type[nn.Module] = type_before_parametrizations(layer)
    if issubclass(cls, nn.SyncBatchNorm):
        return "takes the statistics of all processes, and the fused layer those of one"
    if isinstance(layer, LazyModuleMixin) and _fusable_base(layer.cls_to_become or cls) is not None:
        return "has no weight yet; call the model once"
    base = _fusable_base(cls)
    if base is None or issubclass(cls, layers.WithLeakyReLU):
        return "has no fused form"
    for method in _REPLACED_METHODS:
        if getattr(cls, method, None) is not getattr(base, method, None):
            return f"has a {method} of its own"
    return None


def _fusable_base(cls: type[nn.Module]) -> type[nn.Module] | None:
    return next((base for base in cls.__mro__ if base in FUSED), None)


def _made(classes: _Made, plain: type[nn.Module]) -> type[nn.Module] | None:
    found = classes.get(plain)
    return None if found is None else found()


def fused_class(plain: type[nn.Module]) -> type[nn.Module]:
    """Return the fused class for a plain class or a subclass of one."""
    fused = FUSED.get(plain) or _made(_FUSED_SUBCLASSES, plain)
    if fused is None:
        members = {"__module__": plain.__module__, "__reduce_ex__": _reduce_to_plain_class}
        snake, base = snake_class(plain), _fusable_base(plain)
        if snake is not None:
            fused = type(plain.__name__, (snake, plain), members | {"__qualname__": plain.__qualname__})
        else:
            assert base is not None
            fused = type(f"{plain.__name__}LeakyReLU", (FUSED[base], plain), members)
        _FUSED_SUBCLASSES[plain] = ref(fused)
    return fused


def owner_class(plain: type[nn.Module]) -> type[nn.Module]:
    """Return the class of a module whose forward calls activations that its layers apply."""
    owner = _made(_OWNERS, plain)
    if owner is None:
        members = {
            "__module__": plain.__module__,
            "__reduce_ex__": _reduce_owner,
            "forward": skipping(plain.forward),
        }
        owner = type(plain.__name__, (Owner, plain), members)
        _OWNERS[plain] = ref(owner)
    return owner


def _reduce_owner(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
    reduced: Any = nn.Module.__reduce_ex__(self, protocol)
    _, _, *state = reduced
    return _new_owner, (type(self).__bases__[-1],), *state


def _new_owner(plain: type[nn.Module]) -> nn.Module:
    cls = owner_class(plain)
    return cls.__new__(cls)


def plain_class(layer: nn.Module) -> type[nn.Module]:
    """Return the class that a fused layer, an applied activation or a dropout between had before."""
    return type_before_parametrizations(layer).__bases__[-1]


def _reduce_to_plain_class(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
    """Reduce to the plain class: pickle finds classes by name, and a generated class has no such name."""
    reduced: Any = nn.Module.__reduce_ex__(self, protocol)
    _, _, *state = reduced
    return _new, (plain_class(self),), *state


def _new(plain: type[nn.Module]) -> nn.Module:
    cls = fused_class(plain)
    return cls.__new__(cls)


def become(module: nn.Module, cls: type[nn.Module]) -> None:
    """Change a module's class. For a parametrized module, rebuild the parametrized class on top of it."""
    if is_parametrized(module):
        members = {k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__")}
        cls = type(f"Parametrized{cls.__name__}", (cls,), members)
    module.__class__ = cls
