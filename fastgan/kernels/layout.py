"""How tensors lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.opaque import opaque


def room(into: Tensor | None, like: Tensor, *shape: int) -> Tensor:
    """``into``, or a new tensor of a shape, of the dtype and device of another."""
    if into is None:
        return like.new_empty(shape)
    if into.shape != shape or into.dtype is not like.dtype or not into.is_contiguous():
        raise ValueError(
            f"expected contiguous memory of shape {list(shape)} and {like.dtype} for a result, got shape "
            f"{list(into.shape)}, {into.dtype} and strides {into.stride()}"
        )
    return into


def room_for(like: Tensor, needs: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
    """Two gradients as large as a tensor, each where it is needed."""
    return torch.empty_like(like) if needs[0] else None, torch.empty_like(like) if needs[1] else None


def neighbours_like(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Room for as many tensors, next to each other along the first dimension: see :func:`joined`.

    Apart where one would not begin at a multiple of 16 bytes: kernels would move it element by element.
    """
    first = tensors[0]
    is_alike = first.dim() > 0 and all(t.shape[1:] == first.shape[1:] for t in tensors)
    if not is_alike or any(t.numel() * t.element_size() % 16 for t in tensors[:-1]):
        return tuple(t.new_empty(t.shape) for t in tensors)
    sizes = [len(t) for t in tensors]
    together: tuple[Tensor, ...] = first.new_empty(sum(sizes), *first.shape[1:]).split(sizes)
    return together


@opaque
def joined(tensors: Sequence[Tensor]) -> Tensor:
    """``torch.cat``, without moving anything where each tensor begins in memory where the one before ends."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    end = first.data_ptr()
    storage = first.untyped_storage().data_ptr()
    for t in tensors:
        if (
            not t.is_contiguous()
            or t.dtype is not first.dtype
            or t.shape[1:] != first.shape[1:]
            or t.data_ptr() != end
            or t.untyped_storage().data_ptr() != storage
        ):
            return torch.cat(list(tensors))
        end += t.numel() * t.element_size()
    return first.as_strided((sum(map(len, tensors)), *first.shape[1:]), first.stride())


def channel_layout(tensor: Tensor, dim: int) -> tuple[Tensor, tuple[int, int, int], bool]:
    """The tensor in an order the kernels know, its [outer, channels, inner], and whether channels are last.

    Channels innermost in memory (channels_last after a convolution) is kept, as [rows, channels, 1].
    """
    if not 0 <= dim < tensor.dim():
        raise IndexError(f"dim is {dim}, expected one of the {tensor.dim()} dimensions, from 0 on")
    shape = tensor.shape
    channels = shape[dim]
    if not tensor.is_contiguous():
        if tensor.movedim(dim, -1).is_contiguous():
            return tensor, (tensor.numel() // max(channels, 1), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, (shape[:dim].numel(), channels, shape[dim + 1 :].numel()), False
