"""A chain of float32 layers in one call of C++, with our own product, as in recorded steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fastgan.kernels.activations import NONE, Activation, Forward
from fastgan.kernels.cpu.activations import Activations, codes, product_of, width_of_maxout
from fastgan.kernels.cpu.layers import Layers
from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.layout import room
from fastgan.kernels.native import address, addresses
from fastgan.kernels.sizes import matrix, of_size

_FLOAT = torch.float32


class Chains(Activations, Layers):
    chains_layers = True

    def mlp(
        self,
        input: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        activations: tuple[Activation, ...],
    ) -> tuple[Forward, Tensor]:
        rows, features, widths = _sizes(input, weights, activations)
        if input.dtype is not _FLOAT:
            return super().mlp(input, weights, biases, activations)
        x, w = input.contiguous(), list(map(Tensor.contiguous, weights))
        b: list[Tensor | None] = []
        before: list[Tensor | None] = []
        outputs: list[Tensor] = []
        to_biases: list[int] = []
        for i, (bias, m, width) in enumerate(zip(biases, features[1:], widths, strict=True)):
            b.append(None if bias is None else of_size(bias, width, f"bias {i}").contiguous())
            to_biases.append(0 if bias is None else address(b[i], _FLOAT))  # type: ignore[arg-type]
            outputs.append(torch.empty(rows, m, dtype=_FLOAT, device=CPU))
            is_maxout = i < len(activations) and activations[i].kind == "maxout"
            before.append(torch.empty(rows, width, dtype=_FLOAT, device=CPU) if is_maxout else None)
        _cpu.mlp_forward(
            rows,
            features,
            *_codes(activations),
            address(x, _FLOAT),
            addresses(w, _FLOAT),
            to_biases,
            [0 if z is None else z.data_ptr() for z in before],
            list(map(Tensor.data_ptr, outputs)),
            torch.get_num_threads(),
        )
        return Forward(input, weights, activations, before[:-1], outputs[:-1]), outputs[-1]

    def mlp_backward(
        self,
        grad: Tensor,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor | None]:
        taken = _Taken.of(forward)
        if taken is None:
            return super().mlp_backward(grad, forward, needs, into)
        return taken.backward(grad, None, 0, needs, into, [])

    def mlp_chain(
        self,
        grad: Tensor,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None = None,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        taken = _Taken.of(forward)
        if taken is None:
            return super().mlp_chain(grad, forward, needs, into)
        dz = [torch.empty(taken.rows, width, dtype=_FLOAT, device=CPU) for width in taken.widths[:-1]]
        grads = taken.backward(grad, None, 0, needs, into, dz)
        return [*dz, grad], grads

    def mlp_backward_of_both(
        self,
        scale: Tensor,
        first_row: int,
        forward: Forward,
        needs: Sequence[bool],
        into: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        taken = _Taken.of(forward)
        if taken is None:
            return super().mlp_backward_of_both(scale, first_row, forward, needs, into)
        return taken.backward(torch.ones_like(scale), scale, first_row, needs, into, [])

    def mlp_slope_backward(
        self, grad: Tensor, dz: Sequence[Tensor], forward: Forward, into: Sequence[Tensor | None]
    ) -> list[Tensor]:
        taken = _Taken.of(forward)
        if taken is None:
            return super().mlp_slope_backward(grad, dz, forward, into)
        return taken.slope_backward(grad, dz, into)


@dataclass
class _Taken:
    """A forward pass whose tensors are contiguous and of the right sizes.

    Attributes:
        rows: number of rows.
        features: the width of the input and of each layer's output.
        widths: the width of each layer's product.
        x: the input.
        w: the weights.
        z: the products before a maxout, None for other activations.
        h: the outputs of all layers but the last.
        codes: the activations as the kernels take them.
    """

    rows: int
    features: tuple[int, ...]
    widths: tuple[int, ...]
    x: Tensor
    w: list[Tensor]
    z: list[Tensor | None]
    h: list[Tensor]
    codes: tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]

    @classmethod
    def of(cls, forward: Forward) -> _Taken | None:
        """None for another dtype than float32."""
        input, weights, activations, before, hidden = forward
        rows, features, widths = _sizes(input, weights, activations)
        if input.dtype is not _FLOAT:
            return None
        h = list(map(Tensor.contiguous, hidden))
        for i, (each, m) in enumerate(zip(h, features[1:-1], strict=True)):
            if each.numel() != rows * m:
                of_size(each, rows * m, f"output {i}")
        z = [product_of(*each) for each in zip(before, h, activations, strict=True)]
        x, w = input.contiguous(), list(map(Tensor.contiguous, weights))
        return cls(rows, features, widths, x, w, z, h, _codes(activations))

    def backward(
        self,
        grad: Tensor,
        scale: Tensor | None,
        first_row: int,
        needs: Sequence[bool],
        into: Sequence[Tensor | None] | None,
        dz: list[Tensor],
    ) -> list[Tensor | None]:
        """dx, dW_1 ... dW_L, db_1 ... db_L; ``dz`` has memory for all layers but the last, or none."""
        depth, dy = len(self.w), grad.contiguous()
        s = None if scale is None else of_size(scale, self.rows, "scale").contiguous()
        if not 0 <= first_row <= self.rows:
            raise ValueError(f"first_row is {first_row}, expected one of {self.rows} rows")
        left = self.rows - first_row
        dx = torch.empty(left, self.features[0], dtype=_FLOAT, device=CPU) if needs[0] else None
        grads: list[Tensor | None] = []  # dW_1 ... dW_L, db_1 ... db_L
        rooms = into or [None] * 2 * depth
        for like, need, place in zip([*self.w, *self.widths], needs[1:], rooms, strict=True):
            shape = like.shape if isinstance(like, Tensor) else (like,)
            grads.append(room(place, self.x, *shape) if need else None)
        to_grads = [0 if g is None else g.data_ptr() for g in grads]
        scratch = self._scratch()
        _cpu.mlp_backward(
            *(self.rows, self.features, *self.codes, addresses(self.w, _FLOAT)),
            address(of_size(dy, self.rows * self.features[-1], "grad"), _FLOAT),
            address(self.x, _FLOAT),
            *self._outputs(),
            0 if s is None else address(s, _FLOAT),
            first_row,
            0 if dx is None else dx.data_ptr(),
            to_grads[:depth],
            to_grads[depth:],
            list(map(Tensor.data_ptr, dz)),
            scratch.data_ptr(),
            torch.get_num_threads(),
        )
        return [dx, *grads]

    def slope_backward(
        self, grad: Tensor, dz: Sequence[Tensor], into: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """dW_1 ... dW_L, given the gradient of dx."""
        g, kept = grad.contiguous(), list(map(Tensor.contiguous, dz))
        for i, (each, width) in enumerate(zip(kept, self.widths, strict=True)):
            of_size(each, self.rows * width, f"dz {i}")
        dw = [room(place, w, *w.shape) for w, place in zip(self.w, into, strict=True)]
        scratch = self._scratch()
        _cpu.mlp_slope_backward(
            *(self.rows, self.features, *self.codes, addresses(self.w, _FLOAT)),
            address(of_size(g, self.rows * self.features[0], "grad"), _FLOAT),
            addresses(kept, _FLOAT),
            *self._outputs(),
            list(map(Tensor.data_ptr, dw)),
            scratch.data_ptr(),
            torch.get_num_threads(),
        )
        return dw

    def _outputs(self) -> tuple[list[int], tuple[int, ...]]:
        """Addresses of the products before a maxout, and of the outputs of all layers but the last."""
        before = [0 if z is None else address(z, _FLOAT) for z in self.z]
        return before, addresses(self.h, _FLOAT)

    def _scratch(self) -> Tensor:
        return torch.empty(2 * self.rows * max(self.widths[:-1], default=0), dtype=_FLOAT, device=CPU)


@cache
def _codes(
    activations: tuple[Activation, ...],
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]:
    """Kinds, slopes and pieces as the kernels take them."""
    kinds, slopes, pieces = zip(*map(codes, activations), strict=True) if activations else ((), (), ())
    return kinds, slopes, pieces


def _sizes(
    input: Tensor, weights: Sequence[Tensor], activations: tuple[Activation, ...]
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """The number of rows; the width of the input and of each layer's output; that of each layer's product."""
    rows, width = matrix(input, "input")
    features, widths = [width], []
    for i, (weight, activation) in enumerate(zip(weights, (*activations, NONE), strict=True)):
        if weight.dim() != 2 or weight.shape[1] != features[-1]:
            matrix(weight, f"weight {i}")  # raises for another number of dimensions
            raise ValueError(
                f"weight {i} has shape {list(weight.shape)}, expected {features[-1]} columns, as "
                + ("the input has" if i == 0 else f"layer {i - 1} has outputs")
            )
        widths.append(weight.shape[0])
        is_maxout = activation.kind == "maxout"
        features.append(width_of_maxout(widths[-1], activation) if is_maxout else widths[-1])
    return rows, tuple(features), tuple(widths)
