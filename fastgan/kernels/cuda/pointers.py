"""Addresses for CUDA kernels: which tensors, on which device, on which stream.

As in fastgan/kernels/extension/pointers.py, a tensor is checked here before its address is taken. The
kernels run on the current stream of the tensor's device, as PyTorch's do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

try:
    import fastgan._cuda as _cuda

    _missing: str | None = None
    DEVICE_TYPE: str = _cuda.DEVICE_TYPE  # "cpu" where the tests have compiled the kernels for the host
except ImportError as error:
    _cuda = None  # type: ignore[assignment]
    DEVICE_TYPE = "cuda"
    _missing = (
        f"the CUDA kernels are not built ({error}); install CUDA's compiler (`pip install 'fastgan[nvcc]'`, "
        "or the CUDA toolkit) and then run `pip install --force-reinstall --no-deps fastgan`"
    )

__all__ = ["DTYPES", "_cuda", "address", "counters", "guarded", "scalar", "stream", "why_not"]

DTYPES = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3}  # csrc/types.h
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
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0


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


_SLOTS, _LEAST = 64, 1024
_counters: dict[tuple[int, int], Tensor] = {}
_banks: dict[int, Tensor] = {}
_slots: dict[tuple[int, int, int], int] = {}


def counters(like: Tensor, count: int = 1) -> Tensor:
    """Zeros in which the blocks of a launch count each other; the last block leaves zeros behind.

    They belong to one stream, whose launches run one after another. A graph that is being captured gets its
    own, as it may be replayed on any stream.
    """
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        return _of_capture(like, count)
    key = like.get_device(), stream(like) if like.is_cuda else threading.get_ident()
    found = _counters.get(key)
    if found is None or found.numel() < count:
        found = _counters[key] = _zeros(like, max(_LEAST, 2 * count))
        if key[0] not in _banks:
            _banks[key[0]] = _zeros(like, _SLOTS * _LEAST).view(_SLOTS, _LEAST)
    return found


def _of_capture(like: Tensor, count: int) -> Tensor:
    """Of memory that was zeroed before any capture: else each launch would take a kernel more, for zeros.

    To keep what was allocated in a capture is no way out: it lies in the graph's own memory, in which
    torch.compile's graphs bear no tensor that they do not know.
    """
    index = like.get_device()
    if index in _banks and count <= _LEAST:
        slot = _slots.setdefault((index, stream(like), _cuda.capture_id(stream(like))), len(_slots))
        if slot < _SLOTS:
            return _banks[index][slot]
    return _zeros(like, count)


def _zeros(like: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int32, device=like.device)
