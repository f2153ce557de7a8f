"""Signals, filters and gradients as arguments of the kernels of Snake."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.native import DTYPES, address, compute_dtype
from fastgan.kernels.reference_snake import FEWEST_TAPS, MOST_TAPS, Grads, Needs
from fastgan.kernels.sizes import same_size

Filters = tuple[Tensor, Tensor]


def signal_sizes(tensor: Tensor) -> tuple[int, int, int]:
    """Return samples, channels and length; raise ValueError unless there are three dimensions."""
    if tensor.dim() != 3:
        raise ValueError(f"input has shape {list(tensor.shape)}, expected three dimensions")
    samples, channels, length = tensor.shape
    return samples, channels, length


def in_memory_order(tensor: Tensor, channels_last: bool) -> Tensor:
    """Return a tensor [N, C, ...] with its dimensions in the order of its elements in memory."""
    return tensor.movedim(1, -1) if channels_last else tensor


def incoming(grad: Tensor, input: Tensor, channels_last: bool) -> Tensor:
    """Return an upstream gradient as a contiguous tensor with its elements in the order of the input's."""
    return in_memory_order(same_size(grad, input, "grad"), channels_last).contiguous()


def room_for_grads(dense: Tensor, numbers: Sequence[Tensor | None], needs: Needs) -> Grads:
    """Allocate the gradients of the input, alpha and beta; None for one that is not needed."""
    alpha, beta = (
        torch.empty_like(each) if needed and each is not None else None
        for each, needed in zip(numbers, needs[1:], strict=True)
    )
    return torch.empty_like(dense) if needs[0] else None, alpha, beta


def checked_filters(up_filter: Tensor, down_filter: Tensor) -> Filters:
    """Return contiguous filters; raise ValueError unless kernels take their numbers of taps."""
    for name, each in (("up_filter", up_filter), ("down_filter", down_filter)):
        if each.dim() != 1 or not FEWEST_TAPS <= each.numel() <= MOST_TAPS:
            raise ValueError(
                f"{name} has shape {list(each.shape)}, expected {FEWEST_TAPS} to {MOST_TAPS} elements"
            )
    return up_filter.contiguous(), down_filter.contiguous()


def addresses_of_filters(
    filters: Filters, input: Tensor, device_type: str = "cpu"
) -> tuple[list[int], list[int], tuple[int, int]]:
    """Addresses, dtype codes and numbers of taps of contiguous filters.

    They have the input's dtype, or that in which kernels compute.
    """
    dtypes = [input.dtype if each.dtype is input.dtype else compute_dtype(input.dtype) for each in filters]
    places = [address(each, dtype, device_type) for each, dtype in zip(filters, dtypes, strict=True)]
    return places, [DTYPES[dtype] for dtype in dtypes], (filters[0].numel(), filters[1].numel())
