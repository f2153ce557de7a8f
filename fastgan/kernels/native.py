"""Converts tensors to the arguments of compiled kernels: addresses, dtype codes and scalars.

The kernels do not use torch. Python allocates their outputs, and before taking a tensor's address checks that
it is plain, strided, contiguous, and of the expected device and dtype. (fastgan/ops/routing.py keeps lazily
negated tensors and zero tensors away.) An address does not keep its tensor alive, so callers hold contiguous
copies in variables until the kernel has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")


class Codes(dict[Key, int]):
    """A dict that raises ValueError for an unknown key and lists the known ones."""

    def __init__(self, name: str, numbers: dict[Key, int]) -> None:
        super().__init__(numbers)
        self.name = name

    def __missing__(self, key: Key) -> int:
        raise ValueError(f"{self.name} must be one of {', '.join(map(str, self))}, but is {key}")


# The values of DType in csrc/types.h.
DTYPES = Codes("a kernel's dtype", {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3})
PLAIN = (Tensor, torch.nn.Parameter)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that kernels on ``dtype`` compute in."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def in_compute_dtype(tensor: Tensor) -> Tensor:
    """The tensor in the dtype that kernels compute in."""
    return tensor.to(compute_dtype(tensor.dtype))


def address(tensor: Tensor, dtype: torch.dtype, device_type: str = "cpu") -> int:
    """The address of a plain contiguous tensor of this dtype and device."""
    # is_cpu and is_cuda take a tenth of the time of device.type
    if (
        type(tensor) not in PLAIN
        or not (tensor.is_cpu if device_type == "cpu" else tensor.is_cuda)
        or tensor.dtype is not dtype
        or not tensor.is_contiguous()
    ):
        raise TypeError(
            f"a kernel takes plain contiguous {dtype} tensors on {device_type}, not {type(tensor).__name__} "
            f"of {tensor.dtype} on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def row_stride(tensor: Tensor, rows: int, columns: int, name: str) -> int:
    """Return the elements from each row to the next; raise ValueError for other sizes or columns apart."""
    if tensor.shape != (rows, columns):
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected {[rows, columns]}")
    stride, apart = tensor.stride()
    if rows and columns > 1 and apart != 1:
        raise ValueError(f"{name} has strides {(stride, apart)}, expected adjacent columns")
    return stride


def rows_address(
    tensor: Tensor, dtype: torch.dtype, rows: int, columns: int, name: str, device_type: str = "cpu"
) -> tuple[int, int]:
    """The address of a plain ``[rows, columns]`` tensor with adjacent columns, and the stride of its rows."""
    stride = row_stride(tensor, rows, columns, name)
    if (
        type(tensor) not in PLAIN
        or not (tensor.is_cpu if device_type == "cpu" else tensor.is_cuda)
        or tensor.dtype is not dtype
    ):
        raise TypeError(
            f"{name} must be a plain {dtype} tensor on {device_type}, but is {type(tensor).__name__} of "
            f"{tensor.dtype} on {tensor.device}"
        )
    return tensor.data_ptr(), stride


def addresses(tensors: Sequence[Tensor], dtype: torch.dtype, device_type: str = "cpu") -> tuple[int, ...]:
    """:func:`address` of each tensor."""
    for t in tensors:
        if (
            type(t) not in PLAIN
            or not (t.is_cpu if device_type == "cpu" else t.is_cuda)
            or t.dtype is not dtype
            or not t.is_contiguous()
        ):
            address(t, dtype, device_type)  # raises the error
    return tuple(map(Tensor.data_ptr, tensors))


def address_or_null(tensor: Tensor | None) -> int:
    """The address of an optional tensor, unchecked; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def scalar(scalar: Tensor | None, device_type: str = "cpu") -> tuple[int, int]:
    """The address and dtype code of a tensor with one element; (0, 1) for None, which means a factor of 1."""
    if scalar is None:
        return 0, 1
    if scalar.numel() != 1:
        raise ValueError(f"a gradient's scale must be a scalar tensor, but has shape {tuple(scalar.shape)}")
    return address(scalar, scalar.dtype, device_type), DTYPES[scalar.dtype]
