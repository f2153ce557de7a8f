"""The discriminator's head in C++: the loss from the features, and its gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, SCALARS, _cpu
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.logit_losses import NUMBERS, LossSpec
from fastgan.kernels.native import DTYPES, address, address_or_null, addresses, compute_dtype, scalar
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_head


class Head(Reference):
    def head_loss(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool,
        with_grads: bool,
    ) -> tuple[Tensor, Tensor | None, Tensors, Tensor | None, Tensor | None]:
        dense = tuple(map(Tensor.contiguous, features))
        slopes: Tensors = ()
        sums = None
        if with_grads:
            compute = compute_dtype(weight.dtype)
            slopes = tuple(torch.empty(t.shape[0], dtype=compute, device=CPU) for t in dense)
            sums = _sums(weight)
        total, details = _run(dense, weight, bias, spec, None, dtype, detailed, slopes, (), sums)
        if sums is None:
            return total, details, slopes, None, None
        return total, details, slopes, sums[:-1], sums[-1:]

    def head_loss_and_grad(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        scale: Tensor | None,
        dtype: torch.dtype,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensors, Tensor, Tensor, Tensor]:
        dense = tuple(map(Tensor.contiguous, features))
        grads, sums = neighbours_like(dense), _sums(weight)
        total, details = _run(dense, weight, bias, spec, scale, dtype, True, (), grads, sums)
        assert details is not None
        dw, db = sums.to(weight.dtype).split([len(sums) - 1, 1])
        if into is not None:
            dw, db = into[0].copy_(dw), into[1].copy_(db)
        return total, grads, dw, db, details

    def head_loss_backward(
        self,
        grad: Tensor,
        slopes: Tensors,
        weight: Tensor,
        dw: Tensor,
        db: Tensor,
        needs: tuple[bool, bool, bool],
    ) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
        grad, weight = grad.contiguous(), weight.contiguous()
        factor, dtype = grad.to(dw.dtype), weight.dtype
        return (
            tuple(_outer(grad, s, weight) if needs[0] else None for s in slopes),
            (factor * dw).to(dtype) if needs[1] else None,
            (factor * db).to(dtype) if needs[2] else None,
        )


def _sums(weight: Tensor) -> Tensor:
    """Memory for the gradients of weight and bias, [width + 1] in the compute dtype."""
    return torch.empty(weight.numel() + 1, dtype=compute_dtype(weight.dtype), device=CPU)


def _run(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    spec: LossSpec,
    scale: Tensor | None,
    dtype: torch.dtype,
    detailed: bool,
    slopes: Tensors,
    grads: Tensors,
    sums: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    check_head(features, spec, weight, bias)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    scale = None if scale is None else scale.contiguous()
    features_dtype = weight.dtype
    total_dtype = DTYPES[dtype]
    total = torch.empty_like(SCALARS[dtype])
    details = None
    if detailed:
        details = torch.empty(2 * len(features) + 1, dtype=compute_dtype(features_dtype), device=CPU)
    rows = tuple(map(len, features))
    to_scale, scale_dtype = scalar(scale)
    _cpu.head_loss(
        NUMBERS[spec.loss],
        DTYPES[features_dtype],
        addresses(features, features_dtype),
        rows,
        spec.labels,
        spec.weights_of(rows),
        tuple(map(Tensor.data_ptr, slopes)),
        tuple(map(Tensor.data_ptr, grads)),
        weight.numel(),
        address(weight, features_dtype),
        0 if bias is None else address(bias, features_dtype),
        to_scale,
        scale_dtype,
        total.data_ptr(),
        total_dtype,
        address_or_null(details),
        address_or_null(sums),
        torch.get_num_threads(),
    )
    return total, details


def _outer(grad: Tensor, slopes: Tensor, weight: Tensor) -> Tensor:
    """``grad * slopes[:, None] * weight``, [N, H]."""
    dtype, rows, width = weight.dtype, slopes.numel(), weight.numel()
    result = torch.empty(rows, width, dtype=dtype, device=CPU)
    _cpu.head_grad(
        DTYPES[dtype],
        address(slopes, compute_dtype(dtype)),
        rows,
        width,
        address(weight, dtype),
        *scalar(grad),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result
