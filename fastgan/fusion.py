"""Swapping fused layers into a model that is already there."""

from __future__ import annotations

import warnings
from typing import TypeVar

from torch import nn

from fastgan.nn import LinearLeakyReLU

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def fuse(module: ModuleT) -> ModuleT:
    """Fuse every ``nn.Linear`` that an ``nn.LeakyReLU`` follows in an ``nn.Sequential``, in place.

    The fused layer holds the same Parameters under the same state_dict keys, so optimizers and
    checkpoints made before keep working; an ``nn.Identity`` takes the activation's place. Layers that
    anything else has taken hold of stay as they are: hooks, parametrizations (spectral norm), subclasses,
    modules used in several places, a Sequential with a forward of its own, a negative slope below zero.

    Args:
        module: searched at every depth.

    Returns:
        ``module`` itself. A UserWarning says if there was nothing to fuse.
    """
    uses: dict[int, int] = {}
    for _, child in module.named_modules(remove_duplicate=False):
        uses[id(child)] = uses.get(id(child), 0) + 1
    fused = 0
    for parent in list(module.modules()):
        if not isinstance(parent, nn.Sequential) or type(parent).forward is not nn.Sequential.forward:
            continue
        for i in range(len(parent) - 1):
            linear, activation = parent[i], parent[i + 1]
            if (
                type(linear) is nn.Linear
                and type(activation) is nn.LeakyReLU
                and activation.negative_slope >= 0
                and uses[id(linear)] == 1
                and not has_hooks(linear)
                and not has_hooks(activation)
            ):
                parent[i] = _fused(linear, activation.negative_slope)
                parent[i + 1] = nn.Identity().train(activation.training)
                fused += 1
    if not fused:
        warnings.warn(
            "fastgan.fuse found no nn.Linear followed by an nn.LeakyReLU in an nn.Sequential; "
            "nothing has changed",
            stacklevel=2,
        )
    return module


def has_hooks(module: nn.Module) -> bool:
    """Whether anything was attached to the module that its type does not tell."""
    return bool(
        "forward" in vars(module)  # replaced on the instance
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _fused(linear: nn.Linear, negative_slope: float) -> LinearLeakyReLU:
    layer = LinearLeakyReLU(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        negative_slope=negative_slope,
        device="meta",  # nothing is allocated: the parameters are the old layer's own
    )
    layer.weight, layer.bias = linear.weight, linear.bias
    layer.train(linear.training)
    return layer
