"""The C++ backend, for CPU tensors."""

from __future__ import annotations

import torch

from fastgan.kernels.cpu.batch_norm import BatchNorm
from fastgan.kernels.cpu.draw import Draw
from fastgan.kernels.cpu.head import Head
from fastgan.kernels.cpu.l1 import L1
from fastgan.kernels.cpu.losses import Losses
from fastgan.kernels.cpu.mlp import Chains
from fastgan.kernels.cpu.module import instruction_set as instruction_set
from fastgan.kernels.cpu.module import missing
from fastgan.kernels.cpu.samples import Samples
from fastgan.kernels.cpu.snake import Snake
from fastgan.kernels.cpu.spans import SpanActivations
from fastgan.kernels.cpu.spectral_norm import SpectralNorm
from fastgan.kernels.cpu.step import Step
from fastgan.kernels.cpu.table_batch import TableBatch
from fastgan.kernels.cpu.upfirdn2d import Upfirdn2d


class Cpu(
    Losses,
    Head,
    Chains,
    L1,
    BatchNorm,
    SpectralNorm,
    Snake,
    Upfirdn2d,
    SpanActivations,
    TableBatch,
    Draw,
    Step,
    Samples,
):
    """Kernels for AVX2, AVX-512 and other instruction sets."""

    name = "cpu"

    def why_not(self, device: torch.device) -> str | None:
        if device.type != "cpu":
            return f"there are no C++ kernels for {device.type} tensors in this version"
        return missing
