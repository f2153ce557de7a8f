"""Operators of spectral norms."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.ops.arguments import (
    check_eps,
    check_like,
    check_same_shape,
)
from fastgan.ops.registered.registration import contiguous_like, register


def _check_matrices(weights: list[Tensor], u: list[Tensor], v: list[Tensor]) -> None:
    if not 0 < len(weights) == len(u) == len(v):
        raise ValueError(
            f"got {len(weights)} weights with {len(u)} vectors u and {len(v)} vectors v, expected as many of "
            "each, and at least one"
        )
    for i, (w, a, b) in enumerate(zip(weights, u, v, strict=True)):
        check_like(w, f"weights[{i}]", weights[0], "weights[0]")
        check_like(a, f"u[{i}]", w, f"weights[{i}]")
        check_like(b, f"v[{i}]", w, f"weights[{i}]")
        if w.dim() != 2 or w.numel() == 0:
            raise ValueError(f"weights[{i}] must be a matrix with elements, but has shape {tuple(w.shape)}")
        if a.shape != w.shape[:1] or b.shape != w.shape[1:]:
            raise ValueError(
                f"u[{i}] and v[{i}] must have shapes {tuple(w.shape[:1])} and {tuple(w.shape[1:])}, but have "
                f"{tuple(a.shape)} and {tuple(b.shape)}"
            )


def _check_spectral_norm(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, _: bool
) -> None:
    _check_matrices(weights, u, v)
    check_eps(eps)
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, but is {iterations}")


def _spectral_norm(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, columns_first: bool
) -> list[Tensor]:
    scaled, new_u, new_v, sigma = choose(weights[0]).spectral_norm(
        tuple(weights), tuple(u), tuple(v), eps, iterations, columns_first
    )
    # without iterations the vectors are the inputs, which an operator must not return
    vectors = [t.clone() for t in new_u + new_v] if iterations else []
    return [*(t.contiguous() for t in scaled), *vectors, sigma]


def _spectral_norm_fake(
    weights: list[Tensor], u: list[Tensor], v: list[Tensor], eps: float, iterations: int, _: bool
) -> list[Tensor]:
    return [*map(contiguous_like, [*weights, *u, *v] if iterations else weights), _sigma_for(weights)]


def _sigma_for(weights: list[Tensor]) -> Tensor:
    dtype = torch.float64 if weights[0].dtype is torch.float64 else torch.float32
    return weights[0].new_empty(len(weights), dtype=dtype)


def _check_spectral_norm_backward(
    grads: list[Tensor], weights: list[Tensor], u: list[Tensor], v: list[Tensor], sigma: Tensor
) -> None:
    _check_matrices(weights, u, v)
    if len(grads) != len(weights):
        raise ValueError(f"got {len(grads)} gradients of {len(weights)} weights, expected as many")
    for i, (grad, w) in enumerate(zip(grads, weights, strict=True)):
        check_same_shape(grad, f"grads[{i}]", w, f"weights[{i}]")
    check_same_shape(sigma, "sigma", _sigma_for(weights), "the sigma of the forward pass")


register(
    "spectral_norm(Tensor[] weights, Tensor[] u, Tensor[] v, float eps, int iterations, bool columns_first) "
    "-> Tensor[]",
    _check_spectral_norm,
    _spectral_norm,
    _spectral_norm_fake,
)
register(
    "spectral_norm_backward(Tensor[] grads, Tensor[] weights, Tensor[] u, Tensor[] v, Tensor sigma) "
    "-> Tensor[]",
    _check_spectral_norm_backward,
    lambda grads, weights, u, v, sigma: [
        t.contiguous()
        for t in choose(weights[0]).spectral_norm_backward(
            tuple(grads), tuple(weights), tuple(u), tuple(v), sigma
        )
    ],
    lambda _, weights, *__: [contiguous_like(w) for w in weights],
)
