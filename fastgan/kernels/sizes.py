"""Checks of the sizes passed to kernels: with a wrong size a kernel accesses memory out of bounds."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.reference_upfirdn import MOST_TAPS, Resampling, taps_of

_MOST_PIXELS = 1 << 30  # along an axis; kernels number them in 32 bits


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


def resampled_size(input: Tensor, filter: Tensor, resampling: Resampling) -> tuple[int, int]:
    """Return the height and width of a resampled image, after checks of all sizes."""
    if input.dim() != 4:
        raise ValueError(f"input has shape {list(input.shape)}, expected four dimensions")
    if filter.dim() not in (1, 2) or not all(1 <= taps <= MOST_TAPS for taps in filter.shape):
        raise ValueError(
            f"filter has shape {list(filter.shape)}, expected one or two dimensions of 1 to {MOST_TAPS} taps"
        )
    if min(*resampling.up, *resampling.down) < 1:
        raise ValueError(f"up is {resampling.up} and down {resampling.down}, expected numbers from 1 on")
    left, right, top, bottom = resampling.padding
    _, _, height, width = input.shape
    for size, up, before, after in (
        (width, resampling.up[0], left, right),
        (height, resampling.up[1], top, bottom),
    ):
        if size * up + abs(before) + abs(after) > _MOST_PIXELS:
            raise ValueError(
                f"{size} pixels times {up}, padded by {before} and {after}, are more than {_MOST_PIXELS}"
            )
    out_height, out_width = resampling.size(height, width, taps_of(filter))
    if out_height < 1 or out_width < 1:
        raise ValueError(
            f"the result has {out_height} x {out_width} pixels, expected at least one; pass more padding"
        )
    return out_height, out_width
