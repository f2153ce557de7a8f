"""How tensors lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def same_size(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor, which a kernel reads beside another, element by element."""
    return of_size(tensor, like.numel())


def of_size(tensor: Tensor, size: int) -> Tensor:
    """The tensor, if a kernel may read so many elements of it."""
    if tensor.numel() != size:
        raise ValueError(f"a tensor has {tensor.numel()} elements where {size} belong")
    return tensor


def room_for(like: Tensor, needs: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
    """Two gradients as large as a tensor, each where it is needed."""
    return torch.empty_like(like) if needs[0] else None, torch.empty_like(like) if needs[1] else None


def address_or_null(tensor: Tensor | None) -> int:
    """Of an output that was allocated for this call, if it was."""
    return 0 if tensor is None else tensor.data_ptr()


def channel_layout(tensor: Tensor, dim: int) -> tuple[Tensor, tuple[int, int, int], bool]:
    """The tensor in an order the kernels know, its [outer, channels, inner], and whether channels are last.

    Channels innermost in memory (channels_last after a convolution) is kept, as [rows, channels, 1].
    """
    shape = tensor.shape
    channels = shape[dim]
    if not tensor.is_contiguous():
        if tensor.movedim(dim, -1).is_contiguous():
            return tensor, (tensor.numel() // max(channels, 1), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, (shape[:dim].numel(), channels, shape[dim + 1 :].numel()), False
