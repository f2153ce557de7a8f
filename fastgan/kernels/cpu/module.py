"""The compiled C++ kernels; None and the reason if they are not built."""

from __future__ import annotations

import torch  # before _cpu, so that _cpu uses torch's OpenMP runtime instead of loading a second one
from torch import Tensor

try:
    import fastgan._cpu as _cpu

    missing: str | None = None
except ImportError as error:
    _cpu = None  # type: ignore[assignment]
    missing = (
        f"the C++ extension is not built ({error}); install a C++17 compiler (Debian: apt install g++) "
        "and run `pip install --force-reinstall --no-deps .` in fastgan's sources"
    )

__all__ = ["CPU", "SCALARS", "_cpu", "instruction_set", "missing"]

CPU = torch.device("cpu")


class _Scalars(dict[torch.dtype, Tensor]):
    """Made on first use by a kernel, where tensors are real: an import may happen among fake tensors."""

    def __missing__(self, dtype: torch.dtype) -> Tensor:
        self[dtype] = torch.empty((), dtype=dtype, device=CPU)
        return self[dtype]


# empty_like() of these takes half the time of empty() with a dtype and a device
SCALARS = _Scalars()


def instruction_set() -> str:
    """The instruction set in use: "baseline", "avx2" or "avx512"."""
    return _cpu.instruction_set()
