"""Checks of the sizes passed to kernels: with a wrong size a kernel accesses memory out of bounds."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.spans import Spans


def of_size(tensor: Tensor, size: int, name: str) -> Tensor:
    """Return the tensor; raise ValueError unless it has ``size`` elements."""
    if tensor.numel() != size:
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected {size} elements")
    return tensor


def same_size(tensor: Tensor, like: Tensor, name: str) -> Tensor:
    """Return the tensor; raise ValueError unless it has as many elements as ``like``."""
    return of_size(tensor, like.numel(), name)


def matrix(tensor: Tensor, name: str) -> tuple[int, int]:
    """Return rows and columns; raise ValueError unless there are two dimensions."""
    if tensor.dim() != 2:
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected two dimensions")
    rows, columns = tensor.shape
    return rows, columns


def forward_sizes(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, int, int]:
    """Return n, k and m of a linear layer: input [n, k], weight [m, k], bias [m]."""
    (n, k), (m, columns) = matrix(input, "input"), matrix(weight, "weight")
    if columns != k:
        raise ValueError(f"weight has shape {list(weight.shape)}, expected {k} columns, as in input")
    if bias is not None:
        of_size(bias, m, "bias")
    return n, k, m


def dgrad_sizes(grad: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Return n, k and m: grad [n, m], weight [m, k]."""
    (n, m), (rows, k) = matrix(grad, "grad"), matrix(weight, "weight")
    if rows != m:
        raise ValueError(f"weight has shape {list(weight.shape)}, expected {m} rows, one per column of grad")
    return n, k, m


def wgrad_sizes(grad: Tensor, input: Tensor) -> tuple[int, int, int]:
    """Return n, k and m: grad [n, m], input [n, k]."""
    (n, m), (rows, k) = matrix(grad, "grad"), matrix(input, "input")
    if rows != n:
        raise ValueError(f"input has shape {list(input.shape)}, expected {n} rows, as in grad")
    return n, k, m


def check_spec(tensors: Sequence[Tensor], spec: LossSpec, name: str) -> None:
    """Check that there is at least one tensor, and one label and one weight per tensor."""
    count = len(tensors)
    if count == 0:
        raise ValueError(f"{name} has no tensors, expected at least one")
    if len(spec.labels) != count or len(spec.weights) != count:
        raise ValueError(
            f"{name} has {count} tensors, expected as many labels and weights, got {len(spec.labels)} and "
            f"{len(spec.weights)}"
        )


def check_head(features: Sequence[Tensor], spec: LossSpec, weight: Tensor, bias: Tensor | None) -> None:
    """Check features [n, k] each, weight with k elements, and bias with one."""
    check_spec(features, spec, "features")
    for each in features:
        _, columns = matrix(each, "features")
        if columns != weight.numel():
            raise ValueError(f"features have {columns} columns, expected {weight.numel()}, as in weight")
    if bias is not None:
        of_size(bias, 1, "bias")


def checked_conditions(conditions: Tensor, spans: Spans, rows: int) -> Tensor:
    """Return contiguous conditions; raise ValueError unless there is one per row, and the spans have any."""
    if not spans.conditions:
        raise ValueError("conditions are given, but spans.conditions is empty")
    return of_size(conditions, rows, "conditions").contiguous()
