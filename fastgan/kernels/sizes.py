"""What a kernel is told of sizes: checked here, as a wrong one would read or write foreign memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec


def of_size(tensor: Tensor, size: int, name: str) -> Tensor:
    """The tensor, if it has so many elements."""
    if tensor.numel() != size:
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected {size} elements")
    return tensor


def same_size(tensor: Tensor, like: Tensor, name: str) -> Tensor:
    """The tensor, if it has as many elements as another, which a kernel reads along with it."""
    return of_size(tensor, like.numel(), name)


def matrix(tensor: Tensor, name: str) -> tuple[int, int]:
    """Rows and columns."""
    if tensor.dim() != 2:
        raise ValueError(f"{name} has shape {list(tensor.shape)}, expected two dimensions")
    rows, columns = tensor.shape
    return rows, columns


def forward_sizes(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, int, int]:
    """n, k and m of a linear layer: input [n, k], weight [m, k], bias [m]."""
    (n, k), (m, columns) = matrix(input, "input"), matrix(weight, "weight")
    if columns != k:
        raise ValueError(f"weight has shape {list(weight.shape)}, expected {k} columns, as the input has")
    if bias is not None:
        of_size(bias, m, "bias")
    return n, k, m


def dgrad_sizes(grad: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """n, k and m: grad [n, m], weight [m, k]."""
    (n, m), (rows, k) = matrix(grad, "grad"), matrix(weight, "weight")
    if rows != m:
        raise ValueError(f"weight has shape {list(weight.shape)}, expected {m} rows, one a column of grad")
    return n, k, m


def wgrad_sizes(grad: Tensor, input: Tensor) -> tuple[int, int, int]:
    """n, k and m: grad [n, m], input [n, k]."""
    (n, m), (rows, k) = matrix(grad, "grad"), matrix(input, "input")
    if rows != n:
        raise ValueError(f"input has shape {list(input.shape)}, expected {n} rows, as grad has")
    return n, k, m


def check_spec(tensors: Sequence[Tensor], spec: LossSpec, name: str) -> None:
    """At least one tensor of logits or features, and a label and a weight for each."""
    count = len(tensors)
    if count == 0:
        raise ValueError(f"{name} has no tensors, expected at least one")
    if len(spec.labels) != count or len(spec.weights) != count:
        raise ValueError(
            f"{name} has {count} tensors, expected as many labels and weights, got {len(spec.labels)} and "
            f"{len(spec.weights)}"
        )


def check_head(features: Sequence[Tensor], spec: LossSpec, weight: Tensor, bias: Tensor | None) -> None:
    """Tensors of features, [n, k] each, a weight of k elements, and a bias of one."""
    check_spec(features, spec, "features")
    for each in features:
        _, columns = matrix(each, "features")
        if columns != weight.numel():
            raise ValueError(f"features have {columns} columns, expected {weight.numel()}, as many as weight")
    if bias is not None:
        of_size(bias, 1, "bias")
