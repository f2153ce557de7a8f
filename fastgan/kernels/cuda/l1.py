"""CUDA kernels for L1 distances."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import DEVICE_TYPE, _cuda, address, scalar, stream
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.pairs import Pairs
from fastgan.kernels.reference import Pair, Reference, Tensors
from fastgan.kernels.sizes import same_size


class L1(Reference):
    def l1_loss(
        self, x: Tensors, y: Tensors, weights: Sequence[float], mean: bool, dtype: torch.dtype
    ) -> Tensor:
        return self.l1_loss_and_grad(x, y, weights, mean, None, dtype, (False, False))[0]

    def l1_loss_and_grad(
        self,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Tensors, Tensors]:
        pairs = Pairs(x, y, weights, mean, needs)
        scale = None if scale is None else scale.contiguous()
        parts = pairs.parts(_cuda.MOST_PAIRS)
        if len(parts) == 1:
            loss = _launch(pairs, parts[0], scale, dtype)
        else:
            wide = compute_dtype(x[0].dtype)
            loss = torch.stack([_launch(pairs, part, scale, wide) for part in parts]).sum().to(dtype)
        return loss, pairs.dx, pairs.dy

    def l1_loss_backward(
        self,
        grad: Tensor,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        needs: tuple[bool, bool],
    ) -> tuple[Tensors, Tensors]:
        pairs, grad = Pairs(x, y, weights, mean, needs), grad.contiguous()
        for part in pairs.parts(_cuda.MOST_PAIRS):
            _cuda.l1_backward(*pairs.arguments(DEVICE_TYPE, part), *scalar(grad), stream(grad))
        return pairs.dx, pairs.dy

    def l1_terms(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.contiguous(), y.contiguous()
        terms = torch.empty_like(x)
        _cuda.l1_terms(*_pair(x, y), terms.data_ptr(), stream(x))
        return terms

    def l1_terms_backward(self, grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, bool]) -> Pair:
        x, y, grad = x.contiguous(), y.contiguous(), same_size(grad, x, "grad").contiguous()
        grads = room_for(x, needs)
        _cuda.l1_terms_backward(
            *_pair(x, y),
            address(grad, x.dtype),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            stream(x),
        )
        return grads


def _launch(pairs: Pairs, part: slice, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the loss of some pairs, and fill their gradients."""
    first = pairs.x[0]
    loss = first.new_empty((), dtype=dtype)
    on = stream(first)
    partials = first.new_empty(_cuda.LOSS_WORKSPACE_BYTES, dtype=torch.uint8)
    counter = arrivals(first, 1, on[1])
    _cuda.l1_loss(
        *pairs.arguments(DEVICE_TYPE, part),
        *scalar(scale),
        loss.data_ptr(),
        DTYPES[dtype],
        partials.data_ptr(),
        counter.data_ptr(),
        on,
    )
    return loss


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Return the dtype code, both addresses and the number of elements."""
    dtype = x.dtype
    return DTYPES[dtype], address(x, dtype), address(same_size(y, x, "y"), dtype), x.numel()
