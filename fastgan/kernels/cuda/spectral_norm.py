"""CUDA kernels for the spectral norms of several weights."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import DEVICE_TYPE, _cuda, address, addresses, stream
from fastgan.kernels.matrices import Matrices
from fastgan.kernels.native import DTYPES, compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import of_size, same_size


class SpectralNorm(Reference):
    def spectral_norm(
        self, weights: Tensors, u: Tensors, v: Tensors, eps: float, iterations: int, columns_first: bool
    ) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        matrices = Matrices(weights, u, v)
        first = matrices.w[0]
        new_u, new_v = matrices.new_vectors() if iterations else ((), ())
        scaled = tuple(map(torch.empty_like, matrices.w))
        sigma = first.new_empty(len(matrices), dtype=compute_dtype(first.dtype))
        on = stream(first)
        for part in matrices.parts(_cuda.MOST_WEIGHTS):
            partials = _workspace(matrices, part)
            counters = arrivals(first, len(matrices.w[part]), on[1])
            _cuda.spectral_norm(
                *matrices.arguments(DEVICE_TYPE, part),
                tuple(map(Tensor.data_ptr, new_u[part])),
                tuple(map(Tensor.data_ptr, new_v[part])),
                tuple(map(Tensor.data_ptr, scaled[part])),
                sigma[part].data_ptr(),
                eps,
                iterations,
                columns_first,
                partials.data_ptr(),
                counters.data_ptr(),
                on,
            )
        return scaled, new_u or u, new_v or v, sigma

    def spectral_norm_backward(
        self, grads: Tensors, weights: Tensors, u: Tensors, v: Tensors, sigma: Tensor
    ) -> Tensors:
        matrices = Matrices(weights, u, v)
        first = matrices.w[0]
        grads = tuple(same_size(g, w, "grads").contiguous() for g, w in zip(grads, matrices.w, strict=True))
        sigma = of_size(sigma, len(matrices), "sigma").contiguous()
        dw = tuple(map(torch.empty_like, matrices.w))
        for part in matrices.parts(_cuda.MOST_WEIGHTS):
            partials = _workspace(matrices, part)
            _cuda.spectral_norm_backward(
                *matrices.arguments(DEVICE_TYPE, part),
                addresses(grads[part], first.dtype),
                tuple(map(Tensor.data_ptr, dw[part])),
                address(sigma[part], compute_dtype(first.dtype)),
                partials.data_ptr(),
                stream(first),
            )
        return dw


def _workspace(matrices: Matrices, part: slice) -> Tensor:
    """Memory for the partial sums of some matrices."""
    first = matrices.w[0]
    size = _cuda.spectral_workspace(DTYPES[first.dtype], matrices.rows[part], matrices.columns[part])
    return first.new_empty(size, dtype=compute_dtype(first.dtype))
