"""Numbers for each channel, as arguments of the kernels of batch norm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.native import DTYPES, address, compute_dtype
from fastgan.kernels.sizes import of_size


def of_channels(channels: int, **numbers: Tensor | None) -> list[Tensor | None]:
    """Return contiguous numbers, after checking that there are ``channels`` of each, or None."""
    return [None if t is None else of_size(t, channels, name).contiguous() for name, t in numbers.items()]


def copy_back(updated: Sequence[Tensor | None], given: Sequence[Tensor | None]) -> None:
    """Copy contiguous numbers that a kernel has updated to the tensors that they are copies of."""
    for result, tensor in zip(updated, given, strict=True):
        if result is not None and tensor is not None and result is not tensor:
            tensor.copy_(result)


def per_channel(
    numbers: Sequence[Tensor | None], input: Tensor, device_type: str = "cpu"
) -> tuple[list[int], list[int]]:
    """Addresses and dtype codes of contiguous numbers for the channels (dim 1) of an input; 0 for None.

    They have the input's dtype, or that in which kernels compute.
    """
    dtype, compute, channels = input.dtype, compute_dtype(input.dtype), input.shape[1]
    places, codes = [], []
    for each in numbers:
        own = compute if each is not None and each.dtype is compute else dtype
        places.append(
            0 if each is None else address(of_size(each, channels, "a tensor per channel"), own, device_type)
        )
        codes.append(DTYPES[own])
    return places, codes
