"""The pairs of tensors of an L1 loss, as kernels take them, with memory for gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels.layout import in_one_order
from fastgan.kernels.logit_losses import weights_of_terms
from fastgan.kernels.native import DTYPES, addresses
from fastgan.kernels.reference import Tensors
from fastgan.kernels.sizes import same_size

_Ints = tuple[int, ...]
_Floats = tuple[float, ...]


class Pairs:
    """Contiguous tensors x and y of one dtype, paired, with the weight of each pair.

    Attributes:
        x, y: contiguous, with corresponding elements in the same order.
        sizes, weights: the number of elements of each pair, and the factor of each ``|x - y|``.
        dx, dy: memory for the gradients of x and of y; empty if they are not needed.
    """

    def __init__(
        self,
        x: Sequence[Tensor],
        y: Sequence[Tensor],
        weights: Sequence[float],
        mean: bool,
        needs: tuple[bool, bool] = (False, False),
    ) -> None:
        if not 0 < len(x) == len(y) == len(weights):
            raise ValueError(
                f"got {len(x)} and {len(y)} tensors with {len(weights)} weights, expected as many of each, "
                "and at least one"
            )
        self.x: Tensors = tuple(x)
        self.y: Tensors = tuple(y)
        likes = self.x  # what the gradients are shaped like
        if not (all(map(Tensor.is_contiguous, x)) and all(map(Tensor.is_contiguous, y))):
            self.x, self.y, likes = zip(*map(in_one_order, x, y), strict=True)
        self.sizes = tuple(map(Tensor.numel, self.x))
        if tuple(map(Tensor.numel, self.y)) != self.sizes:
            for a, b in zip(x, y, strict=True):
                same_size(b, a, "y")  # raises for one of them
        self.weights = weights_of_terms(weights, self.sizes) if mean else tuple(weights)
        self.dx: Tensors = tuple(map(torch.empty_like, likes)) if needs[0] else ()
        self.dy: Tensors = tuple(map(torch.empty_like, likes)) if needs[1] else ()

    def parts(self, most: int) -> list[slice]:
        """Slices of at most ``most`` pairs, for one launch each."""
        return [slice(first, first + most) for first in range(0, len(self.x), most)]

    def arguments(
        self, device_type: str, part: slice = slice(None)
    ) -> tuple[int, _Ints, _Ints, _Ints, _Floats, _Ints, _Ints]:
        """Dtype code, addresses of x and of y, sizes, weights, and addresses of dx and of dy."""
        dtype = self.x[0].dtype
        return (
            DTYPES[dtype],
            addresses(self.x[part], dtype, device_type),
            addresses(self.y[part], dtype, device_type),
            self.sizes[part],
            self.weights[part],
            tuple(map(Tensor.data_ptr, self.dx[part])),
            tuple(map(Tensor.data_ptr, self.dy[part])),
        )
