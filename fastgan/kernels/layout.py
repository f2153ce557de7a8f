"""Memory layouts of tensors, and memory for results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from fastgan.kernels.opaque import opaque


def room(into: Tensor | None, like: Tensor, *shape: int) -> Tensor:
    """Check and return ``into``; if it is None, allocate ``shape`` with the dtype and device of ``like``."""
    if into is None:
        return like.new_empty(*shape)  # quicker than with a tuple
    if into.shape != shape or into.dtype is not like.dtype or not into.is_contiguous():
        raise ValueError(
            f"expected contiguous memory of shape {list(shape)} and {like.dtype} for a result, got shape "
            f"{list(into.shape)}, {into.dtype} and strides {into.stride()}"
        )
    return into


def room_for(like: Tensor, needs: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
    """Allocate two gradients of the shape of ``like``; None for one that is not needed."""
    return torch.empty_like(like) if needs[0] else None, torch.empty_like(like) if needs[1] else None


def in_rows(matrix: Tensor) -> Tensor:
    """Return a matrix itself if its columns are adjacent, whatever the stride of its rows; else a copy."""
    return matrix if matrix.dim() == 2 and matrix.stride(1) == 1 else matrix.contiguous()


def in_one_order(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return two tensors of one shape as contiguous ones with their elements in the same order.

    They are not copied if both have the same dense strides, such as channels_last. The third tensor is one
    from which ``torch.empty_like`` makes a result with the elements in that order and the shape of ``x``.
    """
    if x.is_contiguous() and y.is_contiguous():
        return x, y, x
    if x.shape == y.shape and x.stride() == y.stride():
        order = sorted(range(x.dim()), key=x.stride, reverse=True)
        dense = x.permute(order)
        if dense.is_contiguous():
            return dense, y.permute(order), x
    x = x.contiguous()
    return x, y.contiguous(), x


def neighbours_like(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Allocate tensors of the same shapes, adjacent along the first dimension so that :func:`joined` is free.

    They are not adjacent if one would start off a multiple of 16 bytes: kernels would access it one element
    at a time.
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
    """``torch.cat``, but without a copy if each tensor starts in memory where the previous one ends."""
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
    """Return the tensor in a layout the kernels support, its [outer, channels, inner], and "channels last".

    Channels innermost in memory (channels_last after a convolution) are kept, as [rows, channels, 1].
    """
    shape = tensor.shape
    if not 0 <= dim < len(shape):
        raise IndexError(f"dim is {dim}, expected one of the {len(shape)} dimensions, from 0 on")
    if not tensor.is_contiguous():
        channels = shape[dim]
        if tensor.movedim(dim, -1).is_contiguous():
            return tensor, (tensor.numel() // max(channels, 1), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, _around(shape, dim), False


@lru_cache
def _around(shape: torch.Size, dim: int) -> tuple[int, int, int]:
    """Numbers of elements before, along and after a dimension."""
    return shape[:dim].numel(), shape[dim], shape[dim + 1 :].numel()
