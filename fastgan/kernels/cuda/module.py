"""The compiled CUDA module, if it is built, and the conversion of tensors to its arguments.

As in PyTorch, kernels run on the current stream of a tensor's device. The module makes that device current
during a launch.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fastgan.kernels import native

try:
    import fastgan._cuda as _cuda

    missing: str | None = None
    DEVICE_TYPE: str = _cuda.DEVICE_TYPE  # "cpu" if the tests compiled the kernels for the host
except ImportError as error:
    _cuda = None  # type: ignore[assignment]
    DEVICE_TYPE = "cuda"
    missing = (
        f"the CUDA kernels are not built ({error}); install CUDA's compiler (the CUDA toolkit, or, in "
        "fastgan's sources, `pip install '.[nvcc]'`) and then run `pip install --force-reinstall --no-deps "
        ".` there"
    )

__all__ = ["_cuda", "address", "addresses", "rows_address", "scalar", "stream", "why_not"]

address = partial(native.address, device_type=DEVICE_TYPE)
addresses = partial(native.addresses, device_type=DEVICE_TYPE)
rows_address = partial(native.rows_address, device_type=DEVICE_TYPE)
scalar = partial(native.scalar, device_type=DEVICE_TYPE)


def stream(tensor: Tensor) -> tuple[int, int]:
    """Return the index of a tensor's device and the handle of the current stream there."""
    device = tensor.get_device()
    return device, torch._C._cuda_getCurrentRawStream(device) if device >= 0 else 0


def why_not(device: torch.device) -> str | None:
    """The reason why the kernels cannot run on a device, with the remedy; None if they can."""
    if missing is not None:
        return missing
    if device.type != DEVICE_TYPE:
        return f"there are no CUDA kernels for {device.type} tensors"
    if DEVICE_TYPE == "cpu":
        return None
    if torch.version.hip is not None:
        return "this PyTorch is built for AMD's GPUs; use Triton instead"
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
