"""Addresses for CUDA kernels: which tensors, on which device, on which stream.

As in fastgan/kernels/cpu/pointers.py, a tensor is checked here before its address is taken. The
kernels run on the current stream of the tensor's device, as PyTorch's do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from fastgan.kernels.codes import DTYPES

try:
    import fastgan._cuda as _cuda

    _missing: str | None = None
    DEVICE_TYPE: str = _cuda.DEVICE_TYPE  # "cpu" where the tests have compiled the kernels for the host
except ImportError as error:
    _cuda = None  # type: ignore[assignment]
    DEVICE_TYPE = "cuda"
    _missing = (
        f"the CUDA kernels are not built ({error}); install CUDA's compiler (the CUDA toolkit, or, in "
        "fastgan's sources, `pip install '.[nvcc]'`) and then run `pip install --force-reinstall --no-deps "
        ".` there"
    )

__all__ = ["DTYPES", "_cuda", "address", "guarded", "scalar", "stream", "why_not"]

_PLAIN = (Tensor, torch.nn.Parameter)
Function = TypeVar("Function", bound=Callable[..., Any])


def why_not(device: torch.device) -> str | None:
    if _missing is not None:
        return _missing
    if device.type != DEVICE_TYPE:
        return f"there are no CUDA kernels for {device.type} tensors"
    if DEVICE_TYPE == "cpu":
        return None
    if torch.version.hip is not None:
        return "this PyTorch is built for AMD's GPUs; Triton serves them"
    if not torch.cuda.is_available():
        return "there is no GPU that this PyTorch can use"
    with torch.cuda.device(device):
        error = _cuda.device_error()
    if error is None:
        return None
    name, (major, minor) = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    return (
        f"the CUDA kernels cannot run on the {name} (compute capability {major}.{minor}): {error}; they need "
        "a driver of the 580 series or later, and a build for this architecture (TORCH_CUDA_ARCH_LIST)"
    )


def address(tensor: Tensor, dtype: torch.dtype) -> int:
    if (
        type(tensor) not in _PLAIN
        or tensor.device.type != DEVICE_TYPE
        or tensor.dtype is not dtype
        or not tensor.is_contiguous()
    ):
        raise TypeError(
            f"a CUDA kernel takes plain contiguous {dtype} {DEVICE_TYPE} tensors, not {type(tensor).__name__}"
            f" of {tensor.dtype} on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def scalar(scalar: Tensor | None) -> tuple[int, int]:
    """Address and dtype code of one element; of none, which means one."""
    if scalar is None:
        return 0, 1
    if scalar.numel() != 1:
        raise ValueError(f"a gradient's scale must be a scalar tensor, but has shape {tuple(scalar.shape)}")
    return address(scalar, scalar.dtype), DTYPES[scalar.dtype]


def stream(tensor: Tensor) -> int:
    """The current one of the tensor's device: its handle."""
    return torch._C._cuda_getCurrentRawStream(tensor.get_device()) if tensor.is_cuda else 0


def guarded(function: Function) -> Function:
    """Runs with the device of the first tensor (or of the first of a tuple) as the current one."""

    @wraps(function)
    def run(*arguments: Any) -> Any:
        first = arguments[0]
        index = (first[0] if isinstance(first, tuple) else first).get_device()
        other = index >= 0 and index != torch.cuda.current_device()
        with torch.cuda.device(index) if other else contextlib.nullcontext():
            return function(*arguments)

    return run  # type: ignore[return-value]
