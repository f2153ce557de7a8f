"""What was measured on what: device, versions, and the device's own rates of copies and products."""

from __future__ import annotations

import platform
import subprocess

import torch
import triton

import fastgan
from benchmarks.contest import Run, contest


def about(device: str) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU",
        "torch": torch.__version__,
        "triton": triton.__version__,
        "fastgan": fastgan.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


def finish_of(device: str) -> Run:
    """What waits for all that is under way."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.empty(2**30 if device == "cuda" else 2**24, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = contest({"copy": lambda: target.copy_(source)}, 20, finish_of(device)).median("copy")
    return 2 * source.numel() / seconds


def matrix_rate(device: str) -> float:
    """Flops a second of a large bf16 product."""
    size = 8192 if device == "cuda" else 256
    a, b, out = (torch.randn(size, size, device=device).bfloat16() for _ in range(3))
    seconds = contest({"mm": lambda: torch.mm(a, b, out=out)}, 20, finish_of(device)).median("mm")
    return 2 * size**3 / seconds
