"""Random numbers of a step in C++ (Philox 4x32-10)."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.native import address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size


class Draw(Reference):
    def draw(
        self,
        integers: Tensor,
        normal: Tensor,
        uniform: Tensor,
        begins: tuple[int, int, int],
        high: int,
        seed: int,
        clock: Tensor,
    ) -> None:
        _cpu.draw(
            address(integers, torch.int64),
            address(normal, torch.float32),
            address(uniform, torch.float32),
            (integers.numel(), normal.numel(), uniform.numel()),
            begins,
            high,
            seed,
            address(of_size(clock, 1, "clock"), torch.int64),
            torch.get_num_threads(),
        )
