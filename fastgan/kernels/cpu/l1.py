"""L1 distances in C++."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import DTYPES, address, address_or_null, scalar
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
        loss = torch.empty((), dtype=dtype, device=CPU)
        _cpu.l1_loss(
            *pairs.arguments("cpu"), *scalar(scale), loss.data_ptr(), DTYPES[dtype], torch.get_num_threads()
        )
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
        _cpu.l1_backward(*pairs.arguments("cpu"), *scalar(grad), torch.get_num_threads())
        return pairs.dx, pairs.dy

    def l1_terms(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.contiguous(), y.contiguous()
        terms = torch.empty_like(x)
        _cpu.l1_terms(*_pair(x, y), terms.data_ptr(), torch.get_num_threads())
        return terms

    def l1_terms_backward(self, grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, bool]) -> Pair:
        x, y, grad = x.contiguous(), y.contiguous(), same_size(grad, x, "grad").contiguous()
        grads = room_for(x, needs)
        _cpu.l1_terms_backward(
            *_pair(x, y),
            address(grad, x.dtype),
            address_or_null(grads[0]),
            address_or_null(grads[1]),
            torch.get_num_threads(),
        )
        return grads


def _pair(x: Tensor, y: Tensor) -> tuple[int, int, int, int]:
    """Dtype code, both addresses, and the number of elements."""
    dtype = x.dtype
    return DTYPES[dtype], address(x, dtype), address(same_size(y, x, "y"), dtype), x.numel()
