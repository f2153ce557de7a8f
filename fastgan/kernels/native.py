"""What compiled code is told of tensors: addresses, dtypes and scalars.

Compiled code knows nothing of torch. Outputs are allocated in Python, and a tensor is checked here before its
address is taken: a plain strided tensor on the device, of the dtype, contiguous. (Lazy negation, zero tensors
and the like never come here: fastgan/ops/routing.py.) An address keeps nothing alive, so callers hold a
contiguous copy in a variable until the kernel has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")


class Codes(dict[Key, int]):
    """A number for each key; any other key is the caller's mistake."""

    def __init__(self, of: str, numbers: dict[Key, int]) -> None:
        super().__init__(numbers)
        self.of = of

    def __missing__(self, key: Key) -> int:
        raise ValueError(f"{self.of} must be one of {', '.join(map(str, self))}, but is {key}")


# DType of csrc/types.h
DTYPES = Codes("a kernel's dtype", {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3})
_PLAIN = (Tensor, torch.nn.Parameter)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that kernels on ``dtype`` compute in."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def address(tensor: Tensor, dtype: torch.dtype, device_type: str = "cpu") -> int:
    """The address of a plain contiguous tensor of this dtype and device."""
    # is_cpu and is_cuda cost a tenth of device.type
    if (
        type(tensor) not in _PLAIN
        or not (tensor.is_cpu if device_type == "cpu" else tensor.is_cuda)
        or tensor.dtype is not dtype
        or not tensor.is_contiguous()
    ):
        raise TypeError(
            f"a kernel takes plain contiguous {dtype} tensors on {device_type}, not {type(tensor).__name__} "
            f"of {tensor.dtype} on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def addresses(tensors: Sequence[Tensor], dtype: torch.dtype, device_type: str = "cpu") -> tuple[int, ...]:
    """:func:`address` of each."""
    for t in tensors:
        if (
            type(t) not in _PLAIN
            or not (t.is_cpu if device_type == "cpu" else t.is_cuda)
            or t.dtype is not dtype
            or not t.is_contiguous()
        ):
            address(t, dtype, device_type)  # raises, and says what is wrong
    return tuple(map(Tensor.data_ptr, tensors))


def address_or_null(tensor: Tensor | None) -> int:
    """The address of an output that this call has allocated; 0 if there is none."""
    return 0 if tensor is None else tensor.data_ptr()


def scalar(scalar: Tensor | None, device_type: str = "cpu") -> tuple[int, int]:
    """Address and dtype code of one element; (0, any code) for None, which means 1."""
    if scalar is None:
        return 0, 1
    if scalar.numel() != 1:
        raise ValueError(f"a gradient's scale must be a scalar tensor, but has shape {tuple(scalar.shape)}")
    return address(scalar, scalar.dtype, device_type), DTYPES[scalar.dtype]
