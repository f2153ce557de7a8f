"""Numbers for each channel, as arguments of kernels and next to a tensor."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.native import DTYPES, PLAIN, address, compute_dtype
from fastgan.kernels.sizes import of_size


def of_channels(channels: int, **numbers: Tensor | None) -> list[Tensor | None]:
    """Return contiguous numbers, after checking that there are ``channels`` of each, or None."""
    return [None if t is None else of_size(t, channels, name).contiguous() for name, t in numbers.items()]


def along_channels(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers for the channels (dim 1) of a tensor, as a view that is broadcast to it."""
    return numbers.view([-1 if i == 1 else 1 for i in range(like.dim())])


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
    channels, on_cpu = input.shape[1], device_type == "cpu"
    dtypes = input.dtype, compute_dtype(input.dtype)
    places, codes = [], []
    for each in numbers:
        if each is None:
            places.append(0)
            codes.append(0)
            continue
        dtype = each.dtype
        if (
            type(each) not in PLAIN
            or not (each.is_cpu if on_cpu else each.is_cuda)
            or dtype not in dtypes
            or each.numel() != channels
            or not each.is_contiguous()
        ):
            address(
                of_size(each, channels, "a tensor per channel"), dtypes[0], device_type
            )  # raises an error
        places.append(each.data_ptr())
        codes.append(DTYPES[dtype])
    return places, codes
