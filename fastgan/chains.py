"""Recognizes linear layers with (leaky) ReLU between them, which one call of ops.mlp computes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from fastgan import ops
from fastgan.hooks import has_hooks
from fastgan.nn import Applied, LinearLeakyReLU, is_plain_linear, slope_of


def chain_of(module: Callable[..., object]) -> Callable[[Tensor], Tensor] | None:
    """A function that computes an ``nn.Sequential`` in one call, also differentiated twice; None for others.

    The sequence may begin with ``nn.Flatten``, and may have been fused. All activations have one slope, and
    the last layer is linear. Hooks, subclasses and parametrizations exclude it: they may do more.
    """
    if type(module) is not nn.Sequential or has_hooks(module) or any(map(has_hooks, module)):
        return None
    children = [child for child in module if not isinstance(child, (nn.Identity, Applied))]
    flattens = bool(children) and _is_flatten(children[0])
    layers: list[nn.Module] = []
    slopes: list[float] = []
    for child in children[flattens:]:
        follows_a_layer = len(layers) == len(slopes) + 1
        activates = type(child) is LinearLeakyReLU and not child.owners
        if is_plain_linear(child) or activates:
            if follows_a_layer:
                return None
            layers.append(child)
            slopes += [slope_of(child)] if activates else []
        elif type(child) in (nn.LeakyReLU, nn.ReLU) and follows_a_layer:
            slopes.append(slope_of(child))
        else:
            return None
    if len(layers) < 2 or len(slopes) != len(layers) - 1 or len(set(slopes)) != 1:
        return None
    parameters = [layer._parameters for layer in layers]

    def call(input: Tensor) -> Tensor:
        weights = [each["weight"] for each in parameters]
        biases = [each["bias"] for each in parameters]
        return ops.mlp(input.flatten(1) if flattens else input, weights, biases, slopes[0])  # type: ignore[arg-type]

    return call


def _is_flatten(module: nn.Module) -> bool:
    """Whether it makes a row of each sample."""
    return type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1
