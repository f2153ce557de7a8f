"""What a launch costs on the host: ours against Triton's own launcher, with a GPU or without.

Without one the launch itself is left out of both: Triton compiles for a pretended H100 and runs nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.contest import contest

ROUNDS = 40


def test_launch(benchmark: Any) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    if not torch.cuda.is_available():
        from benchmarks.kernels.driver import pretend

        pretend("sm_90")
    from fastgan.kernels.triton.bias_leaky_relu import forward_kernel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, bias = torch.randn(128, 256, device=device), torch.randn(256, device=device)
    y = torch.empty_like(x)
    tensors, numbers, constants = (x, bias, y), (128, 256, 256, 0.2), (True, True, 16, 8, 256)

    def ours() -> None:
        forward_kernel.launch(16, tensors, numbers, constants)

    def plain() -> None:
        forward_kernel.jit[(16, 1, 1)](
            *tensors, *numbers, *constants, num_warps=4, num_stages=3, enable_fp_fusion=True
        )

    result = contest({"fastgan": ours, "triton": plain}, ROUNDS)
    low, middle, high = result.ratio("triton")
    benchmark.extra_info["seconds"] = result.seconds
    benchmark.extra_info["triton / fastgan"] = middle
    print(
        f"\nlaunch: {result.median('fastgan') * 1e6:.2f} us, Triton's launcher "
        f"{result.median('triton') * 1e6:.2f} us, {middle:.2f} times as long ({low:.2f}-{high:.2f})"
    )
    benchmark.pedantic(ours, rounds=5, iterations=100, warmup_rounds=1)
