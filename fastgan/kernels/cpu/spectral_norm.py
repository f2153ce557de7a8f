"""Spectral norms of several weights in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.matrices import Matrices
from fastgan.kernels.native import address, addresses, compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import of_size, same_size


class SpectralNorm(Reference):
    def spectral_norm(
        self, weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
    ) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        matrices = Matrices(weights, u, v)
        dtype = matrices.w[0].dtype
        new_u, new_v = matrices.new_vectors() if iterations else ((), ())
        scaled = tuple(map(torch.empty_like, matrices.w))
        sigma = torch.empty(len(matrices), dtype=compute_dtype(dtype))
        _cpu.spectral_norm(
            *matrices.arguments("cpu"),
            tuple(map(Tensor.data_ptr, new_u)),
            tuple(map(Tensor.data_ptr, new_v)),
            tuple(map(Tensor.data_ptr, scaled)),
            sigma.data_ptr(),
            eps,
            iterations,
            columns_first,
            torch.get_num_threads(),
        )
        return scaled, new_u or u, new_v or v, sigma

    def spectral_norm_backward(
        self, grads: Tensors, weights: Tensors, u: Tensors, v: Tensors, sigma: Tensor
    ) -> Tensors:
        matrices = Matrices(weights, u, v)
        grads = tuple(same_size(g, w, "grads").contiguous() for g, w in zip(grads, matrices.w, strict=True))
        sigma = of_size(sigma, len(matrices), "sigma").contiguous()
        dtype = matrices.w[0].dtype
        dw = tuple(map(torch.empty_like, matrices.w))
        _cpu.spectral_norm_backward(
            *matrices.arguments("cpu"),
            addresses(grads, dtype),
            tuple(map(Tensor.data_ptr, dw)),
            address(sigma, compute_dtype(dtype)),
            torch.get_num_threads(),
        )
        return dw
