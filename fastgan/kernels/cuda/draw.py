"""Random numbers by the CUDA kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cuda.pointers import _cuda, address, guarded, stream
from fastgan.kernels.sizes import of_size


@guarded
def draw(
    integers: Tensor,
    normal: Tensor,
    uniform: Tensor,
    begins: tuple[int, int, int],
    high: int,
    seed: int,
    clock: Tensor,
) -> None:
    _cuda.draw(
        address(integers, torch.int64),
        address(normal, torch.float32),
        address(uniform, torch.float32),
        (integers.numel(), normal.numel(), uniform.numel()),
        begins,
        high,
        seed,
        address(of_size(clock, 1, "clock"), torch.int64),
        stream(clock),
    )
