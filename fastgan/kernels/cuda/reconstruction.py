"""The reconstruction loss by the CUDA kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, scalar, stream
from fastgan.kernels.layout import address_or_null, room_for
from fastgan.kernels.sizes import same_size

_Grads = tuple[Tensor | None, Tensor | None]


def reconstruction_loss(input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype) -> Tensor:
    return reconstruction_loss_and_grad(input, reconstruction, mean, None, loss_dtype, (False, False))[0]


@guarded
def reconstruction_loss_and_grad(
    input: Tensor,
    reconstruction: Tensor,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    needs: tuple[bool, bool],
) -> tuple[Tensor, _Grads]:
    x, y = input.contiguous(), reconstruction.contiguous()
    loss = x.new_empty((), dtype=loss_dtype)
    grads = room_for(x, needs)
    on = stream(x)
    partials = x.new_empty(_cuda.LOSS_WORKSPACE_BYTES, dtype=torch.uint8)
    _cuda.reconstruction_loss(
        *_pair(x, y),
        *map(address_or_null, grads),
        mean,
        *scalar(scale),
        loss.data_ptr(),
        DTYPES[loss_dtype],
        partials.data_ptr(),
        arrivals(x, 1, on).data_ptr(),
        on,
    )
    return loss, grads


@guarded
def reconstruction_loss_backward(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
) -> _Grads:
    x, y, grad = input.contiguous(), reconstruction.contiguous(), grad.contiguous()
    grads = room_for(x, needs)
    is_scalar = grad.numel() == 1
    _cuda.reconstruction_backward(
        *_pair(x, y),
        *map(address_or_null, grads),
        mean,
        0 if is_scalar else address(same_size(grad, x, "grad"), x.dtype),
        *scalar(grad if is_scalar else None),
        stream(x),
    )
    return grads


@guarded
def reconstruction_terms(input: Tensor, reconstruction: Tensor) -> Tensor:
    x, y = input.contiguous(), reconstruction.contiguous()
    terms = torch.empty_like(x)
    _cuda.reconstruction_terms(*_pair(x, y), terms.data_ptr(), stream(x))
    return terms


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Dtype, addresses and size."""
    return (
        DTYPES[x.dtype],
        address(x, x.dtype),
        address(same_size(y, x, "reconstruction"), x.dtype),
        x.numel(),
    )
