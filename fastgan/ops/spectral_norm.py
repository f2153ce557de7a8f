"""Spectral norms: weights divided by the largest singular values that power iterations estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.kernels import Reference
from fastgan.ops.routing import Function, apply, backend_for, route


class Divided(NamedTuple):
    """A weight divided by its spectral norm sigma, without gradient, and the vectors u and v.

    The vectors are ``new`` if they come from power iterations; otherwise they are those that were given.
    """

    value: Tensor
    u: Tensor
    v: Tensor
    sigma: Tensor
    dim: int
    new: bool


def spectral_norms(
    weights: Sequence[Tensor],
    dims: Sequence[int],
    u: Sequence[Tensor],
    v: Sequence[Tensor],
    eps: float,
    iterations: int,
    columns_first: bool,
) -> list[Divided]:
    """Divide several weights by their spectral norms in one call (Miyato et al. 2018, arXiv:1802.05957).

    Args:
        weights: checked weights of one dtype and device. Dimension ``dims[i]`` has the rows of a matrix, and
            the others its columns.
        u, v: estimates of the left and right singular vectors, ``[rows]`` and ``[columns]``, of that dtype.
        eps: the least norm by which a vector is divided.
        iterations: number of power iterations; 0 in evaluation.
        columns_first: an iteration computes v first.
    """
    matrices = tuple(_matrix(w.detach(), dim) for w, dim in zip(weights, dims, strict=True))
    backend, _ = route(*matrices)
    results = backend.spectral_norm(matrices, tuple(u), tuple(v), eps, iterations, columns_first)
    scaled, new_u, new_v, sigma = results
    values = [_shaped(t, w, dim) for t, w, dim in zip(scaled, weights, dims, strict=True)]
    new = [iterations > 0] * len(values)
    return list(map(Divided, values, new_u, new_v, sigma.split(1), dims, new))


def with_gradient(weight: Tensor, divided: Divided) -> Tensor:
    """The value of ``divided`` as a function of the weight; u and v are constants for its gradient.

    Each weight has a node of its own in autograd's graph, as losses may reach some weights and not others.
    """
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return divided.value
    if not divided.new:  # a backward pass keeps them, and until then the module may change its own
        divided = divided._replace(u=divided.u.clone(), v=divided.v.clone())
    value: Tensor = apply(WithGradient, route(weight)[0], weight, divided)
    return value


class WithGradient(Function):
    """(weight) -> weight / sigma."""

    @staticmethod
    def forward(ctx: Any, backend: Reference, weight: Tensor, divided: Divided) -> Tensor:
        ctx.save_for_backward(weight, divided.u, divided.v, divided.sigma)
        ctx.call = backend, divided.dim
        return divided.value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, u, v, sigma = ctx.saved_tensors
        backend, dim = ctx.call
        if grad.layout is not torch.strided:  # of an embedding
            grad = grad.to_dense()
        (dw,) = backend_for(backend, grad).spectral_norm_backward(
            (_matrix(grad, dim),), (_matrix(weight, dim),), (u,), (v,), sigma
        )
        return None, _shaped(dw, weight, dim), None


def _matrix(weight: Tensor, dim: int) -> Tensor:
    if dim == 0:
        return weight if weight.dim() == 2 else weight.flatten(1)
    return weight.movedim(dim, 0).flatten(1)


def _shaped(matrix: Tensor, weight: Tensor, dim: int) -> Tensor:
    """A matrix in the shape and memory format of the weight that it was made of."""
    if dim == 0 and weight.is_contiguous():
        return matrix if weight.dim() == 2 else matrix.view(weight.shape)
    result = matrix.view(weight.movedim(dim, 0).shape).movedim(0, dim)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if not weight.is_contiguous() and weight.dim() in formats:
        return result.contiguous(memory_format=formats[weight.dim()])
    return result.contiguous()
