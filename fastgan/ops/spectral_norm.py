"""Spectral norms of several weights at once: power iterations, value and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.ops.routing import Function, apply, backend_for, route

Tensors = tuple[Tensor, ...]


def spectral_norm(
    weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
) -> tuple[Tensors, Tensors, Tensors]:
    """Divide matrices by their spectral norms, as estimated by power iterations (Miyato et al. 2018).

    Args:
        weights: checked matrices, ``[R_i, C_i]``, of one dtype and device.
        u, v: estimates of the left and right singular vectors, ``[R_i]`` and ``[C_i]``, of the same dtype.
        eps: the least norm by which a vector is divided.
        iterations: number of power iterations; 0 in evaluation.
        columns_first: an iteration computes v first.

    Returns:
        The weights divided, and the new u and v, which are constants for the gradient.
    """
    backend, is_wired = route(*weights)
    if not is_wired:
        return backend.spectral_norm(weights, u, v, eps, iterations, columns_first)[:3]
    outputs = apply(SpectralNorm, backend, eps, iterations, columns_first, *weights, *u, *v)
    count = len(weights)
    return outputs[:count], outputs[count : 2 * count], outputs[2 * count :]


class SpectralNorm(Function):
    """(weights ..., u ..., v ...) -> (weights / sigma ..., u ..., v ...)."""

    @staticmethod
    def forward(
        ctx: Any, backend: Reference, eps: float, iterations: int, columns_first: bool, *tensors: Tensor
    ) -> Tensors:
        count = len(tensors) // 3
        weights = tensors[:count]
        scaled, u, v, sigma = backend.spectral_norm(
            weights, tensors[count : 2 * count], tensors[2 * count :], eps, iterations, columns_first
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*weights, *u, *v, sigma)
        ctx.mark_non_differentiable(*u, *v)
        ctx.backend = backend
        return *scaled, *u, *v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        *saved, sigma = ctx.saved_tensors
        count = len(saved) // 3
        weights, u, v = (tuple(saved[i * count : (i + 1) * count]) for i in range(3))
        known = tuple(
            torch.zeros_like(w) if g is None else g for g, w in zip(grads[:count], weights, strict=True)
        )
        found = backend_for(ctx.backend, *known).spectral_norm_backward(known, weights, u, v, sigma)
        needed = zip(found, grads[:count], ctx.needs_input_grad[4 : 4 + count], strict=True)
        return (
            *(None, None, None, None),
            *(dw if need and g is not None else None for dw, g, need in needed),
            *(None,) * (2 * count),
        )
