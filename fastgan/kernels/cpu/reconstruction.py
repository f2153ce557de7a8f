"""The reconstruction loss in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import DTYPES, address, address_or_null, scalar
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
        loss = torch.empty((), dtype=dtype, device=CPU)
        grads = room_for(x, needs)
        _cpu.reconstruction_loss(
            *_pair(x, y),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            mean,
            *scalar(scale),
            loss.data_ptr(),
            DTYPES[dtype],
            torch.get_num_threads(),
        )
        return loss, grads

    def reconstruction_loss_backward(
        self, grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
    ) -> Pair:
        x, y, grad = input.contiguous(), reconstruction.contiguous(), grad.contiguous()
        grads = room_for(x, needs)
        is_scalar = grad.numel() == 1
        _cpu.reconstruction_backward(
            *_pair(x, y),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            mean,
            0 if is_scalar else address(same_size(grad, x, "grad"), x.dtype),
            *scalar(grad if is_scalar else None),
            torch.get_num_threads(),
        )
        return grads

    def reconstruction_terms(self, input: Tensor, reconstruction: Tensor) -> Tensor:
        x, y = input.contiguous(), reconstruction.contiguous()
        terms = torch.empty_like(x)
        _cpu.reconstruction_terms(*_pair(x, y), terms.data_ptr(), torch.get_num_threads())
        return terms


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Dtype code, both addresses, and the number of elements."""
    dtype = x.dtype
    return DTYPES[dtype], address(x, dtype), address(same_size(y, x, "reconstruction"), dtype), x.numel()
