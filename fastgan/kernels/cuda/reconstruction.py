"""CUDA kernels for the reconstruction loss."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, scalar, stream
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import DTYPES, address_or_null
from fastgan.kernels.reference import Pair, Reference
from fastgan.kernels.sizes import same_size


class Reconstruction(Reference):
    def reconstruction_loss(
        self, input: Tensor, reconstruction: Tensor, mean: bool, dtype: torch.dtype
    ) -> Tensor:
        return self.reconstruction_loss_and_grad(input, reconstruction, mean, None, dtype, (False, False))[0]

    def reconstruction_loss_and_grad(
        self,
        input: Tensor,
        reconstruction: Tensor,
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Pair]:
        x, y = input.contiguous(), reconstruction.contiguous()
        scale = None if scale is None else scale.contiguous()
        loss = x.new_empty((), dtype=dtype)
        grads = room_for(x, needs)
        on = stream(x)
        partials = x.new_empty(_cuda.LOSS_WORKSPACE_BYTES, dtype=torch.uint8)
        _cuda.reconstruction_loss(
            *_pair(x, y),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            mean,
            *scalar(scale),
            loss.data_ptr(),
            DTYPES[dtype],
            partials.data_ptr(),
            arrivals(x, 1, on[1]).data_ptr(),
            on,
        )
        return loss, grads

    def reconstruction_loss_backward(
        self, grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
    ) -> Pair:
        x, y, grad = input.contiguous(), reconstruction.contiguous(), grad.contiguous()
        grads = room_for(x, needs)
        is_scalar = grad.numel() == 1
        _cuda.reconstruction_backward(
            *_pair(x, y),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            mean,
            0 if is_scalar else address(same_size(grad, x, "grad"), x.dtype),
            *scalar(grad if is_scalar else None),
            stream(x),
        )
        return grads

    def reconstruction_terms(self, input: Tensor, reconstruction: Tensor) -> Tensor:
        x, y = input.contiguous(), reconstruction.contiguous()
        terms = torch.empty_like(x)
        _cuda.reconstruction_terms(*_pair(x, y), terms.data_ptr(), stream(x))
        return terms


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Return the dtype code, both addresses and the number of elements."""
    dtype = x.dtype
    return DTYPES[dtype], address(x, dtype), address(same_size(y, x, "reconstruction"), dtype), x.numel()
