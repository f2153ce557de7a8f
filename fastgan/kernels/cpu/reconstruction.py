"""The reconstruction loss by the C++ kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.pointers import CPU, DTYPES, _cpu, address, scalar
from fastgan.kernels.layout import address_or_null, room_for
from fastgan.kernels.sizes import same_size

_SCALE_ONE = (0, 1)
_Grads = tuple[Tensor | None, Tensor | None]


def reconstruction_loss(input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype) -> Tensor:
    return _loss(input, reconstruction, mean, None, loss_dtype, (False, False))[0]


def reconstruction_loss_and_grad(
    input: Tensor,
    reconstruction: Tensor,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    needs: tuple[bool, bool],
) -> tuple[Tensor, _Grads]:
    return _loss(input, reconstruction, mean, scale, loss_dtype, needs)


def _loss(
    input: Tensor,
    reconstruction: Tensor,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    needs: tuple[bool, bool],
) -> tuple[Tensor, _Grads]:
    x, y = input.contiguous(), reconstruction.contiguous()
    scale = None if scale is None else scale.contiguous()
    loss = torch.empty((), dtype=loss_dtype, device=CPU)
    grads = room_for(x, needs)
    _cpu.reconstruction_loss(
        *_pair(x, y),
        *map(address_or_null, grads),
        mean,
        *(_SCALE_ONE if scale is None else scalar(scale)),
        loss.data_ptr(),
        DTYPES[loss_dtype],
        torch.get_num_threads(),
    )
    return loss, grads


def reconstruction_loss_backward(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
) -> _Grads:
    x, y, grad = input.contiguous(), reconstruction.contiguous(), grad.contiguous()
    grads = room_for(x, needs)
    scalar_grad = grad.numel() == 1
    _cpu.reconstruction_backward(
        *_pair(x, y),
        *map(address_or_null, grads),
        mean,
        0 if scalar_grad else address(same_size(grad, x, "grad"), x.dtype),
        *(scalar(grad) if scalar_grad else _SCALE_ONE),
        torch.get_num_threads(),
    )
    return grads


def reconstruction_terms(input: Tensor, reconstruction: Tensor) -> Tensor:
    x, y = input.contiguous(), reconstruction.contiguous()
    terms = torch.empty_like(x)
    _cpu.reconstruction_terms(*_pair(x, y), terms.data_ptr(), torch.get_num_threads())
    return terms


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Dtype, addresses and size."""
    return (
        DTYPES[x.dtype],
        address(x, x.dtype),
        address(same_size(y, x, "reconstruction"), x.dtype),
        x.numel(),
    )
