"""A driver for a simulated GPU: Triton compiles for it, and launches do nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

# The target, and the most shared memory of a block in bytes.
TARGETS = {
    "sm_80": (GPUTarget("cuda", 80, 32), 163 << 10),
    "sm_90": (GPUTarget("cuda", 90, 32), 227 << 10),
    "sm_100": (GPUTarget("cuda", 100, 32), 227 << 10),
    "gfx942": (GPUTarget("hip", "gfx942", 64), 64 << 10),
}


class _Launcher:
    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, *_: object) -> None:
        pass


class _Driver:
    launcher_cls = _Launcher

    def __init__(self, target: GPUTarget, shared_memory: int) -> None:
        self._target = target
        self.utils = SimpleNamespace(
            get_device_properties=lambda _: {"max_shared_mem": shared_memory},
            # module, function, registers, spills, most threads per block
            load_binary=lambda *_: (1, 1, 0, 0, 1024),
            unload_module=lambda _: None,
        )

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: Any = None) -> int:
        return 0


def pretend(name: str) -> None:
    """Makes Triton compile for this target for the rest of the process."""
    driver.set_active(_Driver(*TARGETS[name]))
