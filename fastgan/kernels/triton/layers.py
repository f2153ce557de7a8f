"""Linear layers: our matrix product with a fused epilogue, or the library's product and one more pass.

Two thresholds choose. Both are guesses, not measured on a GPU yet (``pytest benchmarks/bench_choices.py``
measures them): small products are limited by launches and memory passes, which the epilogue saves; large ones
by the matrix units, where the libraries are fastest. ``FASTGAN_PRODUCTS=fused`` or ``library`` overrides the
thresholds.
"""

from __future__ import annotations

import os
from enum import Enum

import torch
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.reference import Reference
from fastgan.kernels.triton import products
from fastgan.kernels.triton.bias_leaky_relu import bias_leaky_relu_into, mask_into


class Product(Enum):
    FUSED = "fused"
    LIBRARY = "library"


_MAX_FUSED = 1 << 33  # multiply-adds
_MIN_FUSED_WIDTH = 16  # output features, the narrowest tile; below it forward is like a matrix-vector product
_FROM_ENVIRONMENT = os.environ.get("FASTGAN_PRODUCTS")
if _FROM_ENVIRONMENT not in (None, *(p.value for p in Product)):
    raise ValueError(f"FASTGAN_PRODUCTS must be 'fused' or 'library', but is {_FROM_ENVIRONMENT!r}")
_forced = None if _FROM_ENVIRONMENT is None else Product(_FROM_ENVIRONMENT)


def choose(dtype: torch.dtype, multiply_adds: int) -> Product:
    if dtype is torch.float64 or multiply_adds == 0:
        return Product.LIBRARY
    if _forced is not None:
        return _forced
    return Product.FUSED if multiply_adds <= _MAX_FUSED else Product.LIBRARY


def _choose_forward(input: Tensor, weight: Tensor) -> Product:
    if weight.shape[0] < _MIN_FUSED_WIDTH and _forced is None:
        return Product.LIBRARY
    return choose(input.dtype, input.numel() * weight.shape[0])


class Layers(Reference):
    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if _choose_forward(input, weight) is Product.FUSED:
            return products.forward(input, weight, bias, None)
        return torch.mm(input, weight.t()) if bias is None else torch.addmm(bias, input, weight.t())

    def linear_leaky_relu(self, input: Tensor, weight: Tensor, bias: Tensor | None, act: Act) -> Tensor:
        if not act.is_plain:
            return self.bias_act(self.linear(input, weight, None), bias, act, 1)
        if _choose_forward(input, weight) is Product.FUSED:
            return products.forward(input, weight, bias, act.alpha)
        output = torch.mm(input, weight.t())
        bias_leaky_relu_into(output, output, (*output.shape, 1), bias, act.alpha)
        return output

    def dgrad(self, grad: Tensor, weight: Tensor) -> Tensor:
        if choose(grad.dtype, grad.numel() * weight.shape[1]) is Product.FUSED:
            return products.dgrad(grad, weight)[0]
        return torch.mm(grad, weight)

    def dgrad_leaky_relu(
        self,
        grad: Tensor,
        weight: Tensor,
        output: Tensor,
        negative_slope: float,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if choose(grad.dtype, grad.numel() * weight.shape[1]) is Product.FUSED:
            return products.dgrad(grad, weight, output, negative_slope, with_bias, into)
        masked = torch.mm(grad, weight)
        layout = (*masked.shape, 1)
        return masked, mask_into(masked, masked, output.contiguous(), layout, negative_slope, with_bias, into)

    def wgrad(self, grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
        if choose(grad.dtype, grad.numel() * input.shape[1]) is Product.FUSED:
            return products.wgrad(grad, input, into)
        return torch.mm(grad.t(), input, out=into)
