"""Addresses for compiled code.

The extension knows nothing of torch. Outputs are allocated in Python, and every tensor is checked here before
its address is taken: a plain strided tensor on the device, of the dtype, contiguous. (Lazy negation, zero
tensors and the like never come here: fastgan/ops/routing.py.) An address keeps nothing alive, so callers hold
a contiguous copy in a variable until the kernel has run.
"""

from __future__ import annotations

import torch  # before _cpu: the extension then finds torch's OpenMP runtime instead of loading a second one
from torch import Tensor

from fastgan.kernels.codes import DTYPES

try:
    import fastgan._cpu as _cpu

    _missing: str | None = None
except ImportError as error:
    _cpu = None  # type: ignore[assignment]
    _missing = (
        f"the C++ extension is not built ({error}); install a C++17 compiler (Debian: apt install g++) "
        "and run `pip install --force-reinstall --no-deps .` in fastgan's sources"
    )

__all__ = ["CPU", "DTYPES", "_cpu", "address", "instruction_set", "scalar", "why_not"]

_PLAIN = (Tensor, torch.nn.Parameter)
CPU = torch.device("cpu")


def why_not(device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"there are no C++ kernels for {device.type} tensors in this version"
    return _missing


def instruction_set() -> str:
    """The instruction set that serves CPU tensors: "baseline", "avx2" or "avx512"."""
    return _cpu.instruction_set()


def address(tensor: Tensor, dtype: torch.dtype) -> int:
    if (
        type(tensor) not in _PLAIN
        or not tensor.is_cpu
        or tensor.dtype is not dtype
        or not tensor.is_contiguous()
    ):
        raise TypeError(
            f"a kernel takes plain contiguous {dtype} CPU tensors, not {type(tensor).__name__} of "
            f"{tensor.dtype} on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def scalar(scalar: Tensor) -> tuple[int, int]:
    """Address and dtype code of one element."""
    if scalar.numel() != 1:
        raise ValueError(f"a gradient's scale must be a scalar tensor, but has shape {tuple(scalar.shape)}")
    return address(scalar, scalar.dtype), DTYPES[scalar.dtype]
