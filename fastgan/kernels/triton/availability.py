"""Whether Triton can run on a device, and the remedy if it cannot."""

from __future__ import annotations

import torch
from triton.runtime import driver

from fastgan.kernels.reference import Reference
from fastgan.kernels.triton.launch import INTERPRETING

_MIN_CAPABILITY = (8, 0)  # Ampere, the oldest architecture that Triton compiles for


class Availability(Reference):
    def why_not(self, device: torch.device) -> str | None:
        if INTERPRETING:
            # Refuse GPUs: an interpreter left on by accident would be ten thousand times slower than the GPU.
            if device.type == "cpu":
                return None
            return (
                f"Triton's interpreter is on, which runs kernels in Python and never on {device.type}; "
                "unset TRITON_INTERPRET and start again"
            )
        if device.type != "cuda":
            return (
                f"Triton has no kernels for {device.type} tensors; TRITON_INTERPRET=1 in the environment "
                "runs them on the CPU, for tests"
            )
        if not torch.cuda.is_available():
            return "there is no GPU that this PyTorch can use"
        if torch.version.hip is None and torch.cuda.get_device_capability(device) < _MIN_CAPABILITY:
            major, minor = torch.cuda.get_device_capability(device)
            name = torch.cuda.get_device_name(device)
            return (
                f"Triton needs compute capability 8.0 (Ampere) or later, but the {name} has {major}.{minor}"
            )
        try:
            driver.active.get_current_target()
        except Exception as error:  # of any kind: another backend is used, and a warning gives the reason
            return (
                f"Triton cannot reach the GPU ({type(error).__name__}: {error}); it may want a C compiler "
                "and Python's headers (Debian: apt install gcc python3-dev)"
            )
        return None
