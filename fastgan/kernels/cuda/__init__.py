"""The CUDA backend for NVIDIA GPUs."""

from __future__ import annotations

import torch

from fastgan.kernels.cuda import module
from fastgan.kernels.cuda.batch_norm import BatchNorm
from fastgan.kernels.cuda.head import Head
from fastgan.kernels.cuda.l1 import L1
from fastgan.kernels.cuda.layers import Layers
from fastgan.kernels.cuda.losses import Losses
from fastgan.kernels.cuda.snake import Snake
from fastgan.kernels.cuda.span_activations import SpanActivations
from fastgan.kernels.cuda.spectral_norm import SpectralNorm
from fastgan.kernels.cuda.step import Step
from fastgan.kernels.cuda.table_batches import TableBatches
from fastgan.kernels.cuda.upfirdn2d import Upfirdn2d


class Cuda(
    Losses, Head, Layers, BatchNorm, L1, Snake, SpanActivations, SpectralNorm, Step, TableBatches, Upfirdn2d
):
    """CUDA C++ kernels; matrix products use PyTorch's libraries."""

    name = "cuda"

    def why_not(self, device: torch.device) -> str | None:
        return module.why_not(device)
