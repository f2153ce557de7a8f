"""The places of a layer and its activations in a model, so that the layer can detect later changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from torch import nn

from fastgan.nn import Place


def places(
    modules: dict[str, nn.Module], layer: nn.Module, activations: Sequence[nn.Module]
) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
    """Return the places of the layer and of its activations, below the innermost module that contains both.

    Args:
        modules: all modules of the model by name, under each of their names.
    """
    home: dict[Place, None] = {}
    held: dict[Place, None] = {}
    for own in _names(modules, layer):
        for activation in activations:
            shared = {name: _shared(own, name) for name in _names(modules, activation)}
            depth = max(shared.values())
            home |= dict.fromkeys(_chain(modules, own, depth))
            for name in shared:
                if shared[name] == depth:
                    held |= dict.fromkeys(_chain(modules, name, depth))
    return tuple(home), tuple(held)


def _names(modules: dict[str, nn.Module], module: nn.Module) -> list[tuple[str, ...]]:
    return [tuple(name.split(".")) for name, each in modules.items() if each is module]


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False)))


def _chain(modules: dict[str, nn.Module], name: tuple[str, ...], depth: int) -> Iterator[Place]:
    for i in range(depth, len(name)):
        yield modules[".".join(name[:i])], name[i], modules[".".join(name[: i + 1])]
