"""A call of a network that leaves the network as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def tensors_restored(network: nn.Module) -> Iterator[None]:
    """Undo what a call does to parameters and buffers: batch statistics, power iterations, new buffers."""
    parameters = [(p, p.detach().clone()) for p in network.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for p, before in parameters:
                p.copy_(before)
            for module, name, buffer, before in buffers:
                buffer.copy_(before)
                setattr(module, name, buffer)  # it may have been replaced
