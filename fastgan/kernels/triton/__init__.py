"""The Triton kernels: every operation on any GPU that Triton supports, without a CUDA compiler.

Importing this package imports Triton, so fastgan/kernels/__init__.py imports it on first use.
"""

from __future__ import annotations

from fastgan.kernels.triton.adam import Adam
from fastgan.kernels.triton.availability import Availability
from fastgan.kernels.triton.batch_norm import BatchNorm
from fastgan.kernels.triton.bias_act import BiasAct
from fastgan.kernels.triton.draw import Draw
from fastgan.kernels.triton.head import Head
from fastgan.kernels.triton.l1 import L1
from fastgan.kernels.triton.layers import Layers
from fastgan.kernels.triton.loss_terms import LossTerms
from fastgan.kernels.triton.losses import Losses
from fastgan.kernels.triton.record import Record
from fastgan.kernels.triton.snake import Snake
from fastgan.kernels.triton.span_activations import SpanActivations
from fastgan.kernels.triton.spectral_norm import SpectralNorm
from fastgan.kernels.triton.tables import Tables
from fastgan.kernels.triton.upfirdn2d import Upfirdn2d


class Triton(
    Availability,
    Losses,
    LossTerms,
    L1,
    BiasAct,
    BatchNorm,
    Layers,
    Head,
    SpectralNorm,
    Snake,
    Upfirdn2d,
    SpanActivations,
    Tables,
    Adam,
    Draw,
    Record,
):
    """Triton kernels for NVIDIA and AMD GPUs."""

    name = "triton"
