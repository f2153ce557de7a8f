"""Modules in torch.fx graphs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def in_graph(module: nn.Module, input: Any, *arguments: Any) -> Tensor:
    """Record a call of the whole module in a torch.fx graph, like torch.fx does for torch.nn.

    Raises:
        TypeError: the module is what is traced, which has no name to call it by.
    """
    tracer = input.tracer
    if getattr(tracer, "root", None) is module:
        raise TypeError(
            f"torch.fx cannot trace {type(module).__name__} by itself, as it is one step of a graph; trace "
            "nn.Sequential(module)"
        )
    call: Tensor = tracer.create_proxy("call_module", tracer.path_of_module(module), (input, *arguments), {})
    return call
