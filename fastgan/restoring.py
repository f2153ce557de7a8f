"""Calls a network without changing its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def tensors_restored(network: nn.Module) -> Iterator[None]:
    """Restore parameters and buffers on exit: batch statistics, power iterations, replaced buffers."""
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
                setattr(module, name, buffer)  # the call may have replaced it
