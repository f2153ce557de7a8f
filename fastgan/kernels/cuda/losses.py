"""CUDA kernels for the losses on logits."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, addresses, scalar, stream
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.logit_losses import NUMBERS, LossSpec, cached_weights_of
from fastgan.kernels.native import DTYPES, compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_spec, same_size

_NO_SCALE = (0, 1)  # null address, arbitrary dtype
_ONE_BLOCK_TENSORS = 2  # one block handles so many small tensors; with more tensors several blocks are faster


class Losses(Reference):
    def loss(
        self,
        logits: Tensors,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool = False,
        keep_grads: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        dense = tuple(map(Tensor.contiguous, logits))
        grads = tuple(map(torch.empty_like, dense)) if keep_grads else ()
        return *_forward(dense, grads, spec, None, dtype, detailed), grads

    def loss_and_grad(
        self, logits: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensors, Tensor]:
        check_spec(logits, spec, "logits")
        dense = tuple(map(Tensor.contiguous, logits))
        grads = neighbours_like(dense)
        scale = None if scale is None else scale.contiguous()
        total, details = _forward(dense, grads, spec, scale, dtype, True)
        assert details is not None
        return total, grads, details

    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        check_spec(logits, spec, "logits")
        dense, grad = tuple(map(Tensor.contiguous, logits)), grad.contiguous()
        grads = kept or tuple(map(torch.empty_like, dense))
        dtype, sizes = dense[0].dtype, tuple(map(Tensor.numel, dense))
        pointers, weights = addresses(dense, dtype), spec.weights_of(sizes)
        grad_sizes = tuple(map(Tensor.numel, grads))
        if grad_sizes != sizes:
            raise ValueError(f"kept has tensors of {grad_sizes} elements, expected {sizes}")
        outputs = addresses(grads, dtype)
        for first in range(0, len(dense), _cuda.MOST_TENSORS):
            part = slice(first, first + _cuda.MOST_TENSORS)
            _cuda.loss_backward(
                NUMBERS[spec.loss],
                DTYPES[dtype],
                pointers[part],
                sizes[part],
                spec.labels[part],
                weights[part],
                outputs[part],
                *scalar(grad),
                bool(kept),
                stream(grad),
            )
        return grads

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        return _terms(logits.contiguous(), loss, label, weight, None)

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        dense = logits.contiguous()
        return _terms(dense, loss, label, weight, same_size(grad, dense, "grad").contiguous())


def _forward(
    logits: Tensors,
    grads: Tensors,
    spec: LossSpec,
    scale: Tensor | None,
    dtype: torch.dtype,
    detailed: bool,
) -> tuple[Tensor, Tensor | None]:
    if not len(logits) == len(spec.labels) == len(spec.weights) > 0:
        check_spec(logits, spec, "logits")  # raises
    if len(logits) > _cuda.MOST_TENSORS:
        return _forward_in_parts(logits, grads, spec, scale, dtype)
    first = logits[0]
    inputs, on = first.dtype, stream(first)
    total = first.new_empty((), dtype=dtype)
    details = first.new_empty(2 * len(logits) + 1, dtype=compute_dtype(inputs)) if detailed else None
    sizes = tuple(map(Tensor.numel, logits))
    partials = counter = None
    if len(logits) > _ONE_BLOCK_TENSORS or max(sizes) * first.element_size() > _cuda.LOSS_TILE_BYTES:
        partials = first.new_empty(_cuda.LOSS_WORKSPACE_BYTES, dtype=torch.uint8)
        counter = arrivals(first, 1, on[1])
    _cuda.loss(
        NUMBERS[spec.loss],
        DTYPES[inputs],
        addresses(logits, inputs),
        sizes,
        spec.labels,
        cached_weights_of(spec, sizes),
        tuple(map(Tensor.data_ptr, grads)),
        *(_NO_SCALE if scale is None else scalar(scale)),
        total.data_ptr(),
        DTYPES[dtype],
        0 if details is None else details.data_ptr(),
        0 if partials is None else partials.data_ptr(),
        0 if counter is None else counter.data_ptr(),
        on,
    )
    return total, details


def _forward_in_parts(
    logits: Tensors, grads: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Split more tensors than one launch takes over several launches, and combine their details."""
    shares, outputs, saturated = [], [], []
    for first in range(0, len(logits), _cuda.MOST_TENSORS):
        part = slice(first, first + _cuda.MOST_TENSORS)
        part_spec = spec._replace(labels=spec.labels[part], weights=spec.weights[part])
        _, details = _forward(logits[part], grads[part], part_spec, scale, dtype, True)
        assert details is not None
        count = len(details) // 2
        shares.append(details[:count])
        outputs.append(details[count:-1])
        # the share is nan for a part without elements
        saturated.append(details[-1:].nan_to_num() * sum(map(Tensor.numel, logits[part])))
    share = torch.cat(saturated).sum(0, keepdim=True) / sum(map(Tensor.numel, logits))
    total = torch.cat(shares).sum(dtype=torch.float64).to(dtype)
    return total, torch.cat([*shares, *outputs, share])


def _terms(logits: Tensor, loss: str, label: float, weight: float, incoming: Tensor | None) -> Tensor:
    result = torch.empty_like(logits)
    dtype = logits.dtype
    _cuda.loss_terms(
        NUMBERS[loss],
        DTYPES[dtype],
        address(logits, dtype),
        logits.numel(),
        label,
        weight,
        0 if incoming is None else address(incoming, dtype),
        result.data_ptr(),
        stream(logits),
    )
    return result
