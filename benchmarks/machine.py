"""Describes the machine: device, versions, and its rates of copies and matrix products.

``python -m benchmarks.machine`` prints the name of the file for this device's results.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

import fastgan
from benchmarks.contest import Effort, Run, contest, timed
from fastgan.kernels.cpu.products import HAS_ONEDNN

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_EFFORT = Effort(20, 10, 0.5)


def about(device: str) -> dict[str, object]:
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "fastgan": fastgan.__version__,
        "commit": commit(),
    }


def commit() -> str:
    """The commit of these sources: FASTGAN_COMMIT if set (for machines without git), else from git."""
    return os.environ.get("FASTGAN_COMMIT") or commit_of(Path(__file__).parent)


def commit_of(folder: Path) -> str:
    """The commit that is checked out there, as git says; "unknown" if it says none."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        found = ""
    return found or "unknown"


def finish_of(device: str) -> Run:
    """A function that waits for all work on the device."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def device_name(device: str) -> str:
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    count = torch.get_num_threads()
    return f"{_cpu()}, {count} core{'s' if count > 1 else ''}"


def slug(device: str) -> str:
    """The device's name for files, such as ``cpu-zen3-2-cores`` or ``nvidia-h100-80gb-hbm3``."""
    name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM)\)", "", device_name(device)).lower()).strip("-")
    return name if device == "cuda" else f"cpu-{name}"


def _cpu() -> str:
    """The generation of an AMD CPU, as its name does not always tell it; the name of any other CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = {key: re.search(rf"^{key}\s*: (.+)$", text, re.MULTILINE) for key in _KEYS}
    vendor, family, model, name = (match.group(1) if match else "" for match in found.values())
    if vendor == "AuthenticAMD" and (generation := _amd_generation(int(family), int(model))):
        return generation
    return name or platform.processor() or platform.machine()


_KEYS = ("vendor_id", "cpu family", "model", "model name")


def _amd_generation(family: int, model: int) -> str | None:
    """Classified as in Linux (arch/x86/kernel/cpu/amd.c)."""
    if family == 25:
        is_zen4 = 0x10 <= model <= 0x1F or 0x60 <= model <= 0x7F or 0xA0 <= model <= 0xAF
        return "Zen4" if is_zen4 else "Zen3"
    return {26: "Zen5"}.get(family)


@dataclass(frozen=True)
class Rates:
    """The machine's limits.

    Attributes:
        copy_seconds: seconds of a copy, by the number of bytes read and written.
        flops: floating-point operations per second of a large product, by dtype.
    """

    copy_seconds: dict[int, float]
    flops: dict[str, float]

    def floor(self, bytes_moved: int, flops: int, dtype: str) -> float:
        """Seconds of a copy that moves ``bytes_moved``, or of the operations, whichever is longer."""
        return max(self._copy(bytes_moved), flops / self.flops[dtype] if flops else 0.0)

    def _copy(self, bytes_moved: int) -> float:
        """Interpolates between measured sizes; beyond the largest, uses its bandwidth."""
        sizes = sorted(self.copy_seconds)
        i = bisect_left(sizes, bytes_moved)
        if i == len(sizes):
            return self.copy_seconds[sizes[-1]] * bytes_moved / sizes[-1]
        if i == 0:
            return self.copy_seconds[sizes[0]] if bytes_moved else 0.0
        low, high = sizes[i - 1 : i + 1]
        share = (bytes_moved - low) / (high - low)
        return self.copy_seconds[low] * (1 - share) + self.copy_seconds[high] * share


@cache
def rates(device: str) -> Rates:
    """Measured once per process. Takes the fastest of many samples, as other load can only slow them down."""
    powers = range(12, 33 if device == "cuda" else 30, 2)
    return Rates(
        {2**power: _copy_seconds(device, 2**power) for power in powers},
        {"fp32": matrix_rate(device, torch.float32)}
        | ({"bf16": matrix_rate(device, torch.bfloat16)} if device == "cuda" else {}),
    )


def _copy_seconds(device: str, bytes_moved: int) -> float:
    source = torch.zeros(bytes_moved // 8, device=device)
    target = torch.zeros_like(source)
    copy = timed(lambda: target.copy_(source), finish_of(device))
    return contest({"copy": copy}, _EFFORT).fastest("copy")


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large product; on a CPU the better of BLAS and oneDNN."""
    size = 8192 if device == "cuda" else 1024
    a, b, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))
    ways = {"mm": timed(lambda: torch.mm(a, b, out=out), finish_of(device))}
    if device == "cpu" and dtype is torch.float32 and HAS_ONEDNN:
        linear = torch.ops.mkldnn._linear_pointwise
        ways["oneDNN"] = timed(lambda: linear(a, b, None, "none", [], ""))
    result = contest(ways, _EFFORT)
    return 2 * size**3 / min(map(result.fastest, ways))


if __name__ == "__main__":
    print(slug(DEVICE))
