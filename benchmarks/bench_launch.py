"""Host time of a launch: our launcher and Triton's, with or without a GPU.

Without a GPU both skip the launch itself: Triton compiles for a simulated H100 and runs nothing.
"""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.conftest import Record
from benchmarks.contest import contest, timed
from benchmarks.replay import replayed

pytestmark = pytest.mark.benchmark(timer=replayed)


def test_launch(record: Record) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    if not torch.cuda.is_available():
        from benchmarks.kernels.driver import pretend

        pretend("sm_90")
    from fastgan.kernels.triton.bias_act import forward_kernel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, bias = torch.randn(128, 256, device=device), torch.randn(256, device=device)
    y = torch.empty_like(x)
    tensors, numbers = (x, bias, y), (128, 256, 256, 0.2, 1.0, math.nan)
    constants = ("leaky", True, 16, 8, 256)

    def ours() -> None:
        forward_kernel.launch(16, tensors, numbers, constants)

    def plain() -> None:
        forward_kernel.jit[(16, 1, 1)](
            *tensors, *numbers, *constants, num_warps=4, num_stages=3, enable_fp_fusion=True
        )

    result = contest({"fastgan": timed(ours), "Triton's launcher": timed(plain)})
    record("launch", "bias_leaky_relu, 128 × 256", result)
