"""The losses on logits in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, SCALARS, _cpu
from fastgan.kernels.logit_losses import NUMBERS, LossSpec, cached_weights_of
from fastgan.kernels.native import DTYPES, address, addresses, compute_dtype, scalar
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_spec, same_size

_NO_SCALE = scalar(None)


class Losses(Reference):
    def loss(
        self,
        logits: Tensors,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool = False,
        keep_grads: bool = False,
        scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        if not 0 < len(logits) == len(spec.labels) == len(spec.weights):
            check_spec(logits, spec, "logits")
        dense = tuple(map(Tensor.contiguous, logits))
        grads = tuple(map(torch.empty_like, dense)) if keep_grads else ()
        sizes = tuple(map(Tensor.numel, dense))
        logits_dtype = dense[0].dtype
        total_dtype = DTYPES[dtype]
        total = torch.empty_like(SCALARS[dtype])
        details = None
        if detailed:
            details = torch.empty(2 * len(dense) + 1, dtype=compute_dtype(logits_dtype), device=CPU)
        scale = None if scale is None else scale.contiguous()
        to_scale, scale_dtype = _NO_SCALE if scale is None else scalar(scale)
        _cpu.loss(
            NUMBERS[spec.loss],
            DTYPES[logits_dtype],
            addresses(dense, logits_dtype),
            sizes,
            spec.labels,
            cached_weights_of(spec, sizes),
            tuple(map(Tensor.data_ptr, grads)) if grads else (),
            to_scale,
            scale_dtype,
            total.data_ptr(),
            total_dtype,
            0 if details is None else details.data_ptr(),
            torch.get_num_threads(),
        )
        return total, details, grads

    def loss_and_grad(
        self, logits: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensors, Tensor]:
        total, details, grads = self.loss(logits, spec, dtype, True, True, scale)
        assert details is not None
        return total, grads, details

    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        if kept and grad.item() == 1:
            return kept
        check_spec(logits, spec, "logits")
        dense, grad = tuple(map(Tensor.contiguous, logits)), grad.contiguous()
        grads = kept or tuple(map(torch.empty_like, dense))
        dtype, sizes = dense[0].dtype, tuple(map(Tensor.numel, dense))
        _cpu.loss_backward(
            NUMBERS[spec.loss],
            DTYPES[dtype],
            addresses(dense, dtype),
            sizes,
            spec.labels,
            cached_weights_of(spec, sizes),
            addresses([same_size(g, t, "kept") for g, t in zip(grads, dense, strict=True)], dtype),
            *scalar(grad),
            torch.get_num_threads(),
        )
        return grads

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        return _terms(logits.contiguous(), loss, label, weight, None)

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        dense = logits.contiguous()
        return _terms(dense, loss, label, weight, same_size(grad, dense, "grad").contiguous())


def _terms(logits: Tensor, loss: str, label: float, weight: float, incoming: Tensor | None) -> Tensor:
    result = torch.empty_like(logits)
    dtype = logits.dtype
    _cpu.loss_terms(
        NUMBERS[loss],
        DTYPES[dtype],
        address(logits, dtype),
        logits.numel(),
        label,
        weight,
        0 if incoming is None else address(incoming, dtype),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result
