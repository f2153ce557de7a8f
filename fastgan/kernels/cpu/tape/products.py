"""Calls of linear layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.kernels.cpu.tape.base import TapeBase


class OneHot(NamedTuple):
    """The last columns of a matrix: zeros and a one in each row, which are not read.

    Attributes:
        indices: int64 ``[N]``: in which of them each row has its one.
        columns: how many.
    """

    indices: Tensor
    columns: int


class ProductCalls(TapeBase):
    """Linear layers and their gradients."""

    def forward(
        self,
        x: Tensor,
        weight: Tensor,
        packed: Tensor,
        bias: Tensor | None,
        negative_slope: float,
        y: Tensor,
        hot: OneHot | None = None,
    ) -> None:
        """``y = leaky_relu(x @ weight.T + bias)``.

        Args:
            x: ``[N, K]``, with adjacent columns.
            weight: ``[M, K]``.
            packed: the weight, written by :meth:`pack`.
            bias: ``[M]``.
            negative_slope: 1 for no activation.
            y: ``[N, M]``, with adjacent columns.
            hot: the last columns of x, if they are zeros and a one.
        """
        features, width = weight.shape
        count = len(x)
        to_x, to_y = self._matrix(x, count, width), self._matrix(y, count, features)
        to_bias = 0 if bias is None else self._at(bias, features)
        call = self._ratio(count), width, features, *to_x, *self._hot(hot, count)
        self._calls.forward(*call, self._at(weight), self._at(packed), to_bias, negative_slope, *to_y)

    def dgrad(
        self,
        dz: Tensor,
        weight: Tensor,
        packed: Tensor,
        output: Tensor | None,
        negative_slope: float,
        dx: Tensor,
    ) -> None:
        """``dx = dz @ weight``, times the slope of the leaky ReLU that gave ``output``, if there is one.

        Args:
            dz: ``[N, M]``.
            weight: ``[M, K]``.
            packed: the weight, written by :meth:`pack`.
            output: like dx.
            negative_slope: slope of that leaky ReLU.
            dx: ``[N, K]``, or ``[N, k]`` for the first k columns.
        """
        (features, width), columns = weight.shape, dx.shape[1]
        count = len(dz)
        if columns > width:
            raise ValueError(f"dx has {columns} columns, expected at most {width}, those of the weight")
        to_dz, to_dx = self._at(dz, count * features), self._at(dx, count * columns)
        to_output = 0 if output is None else self._like(output, dx)
        call = self._ratio(count), width, features, to_dz, self._at(weight), self._at(packed)
        self._calls.dgrad(*call, to_output, negative_slope, to_dx, columns)

    def climb(
        self,
        x: Tensor,
        weight: Tensor,
        packed: Tensor,
        output: Tensor | None,
        negative_slope: float,
        y: Tensor,
    ) -> None:
        """``y = x @ weight.T``, times the slope of the leaky ReLU that gave ``output``; shaped as forward."""
        features, width = weight.shape
        count = len(x)
        to_x, to_y = self._at(x, count * width), self._at(y, count * features)
        to_output = 0 if output is None else self._at(output, count * features)
        call = self._ratio(count), width, features, to_x, self._at(weight), self._at(packed)
        self._calls.climb(*call, to_output, negative_slope, to_y)

    def wgrad(
        self, dz: Tensor, scale: Tensor | None, x: Tensor, dw: Tensor, hot: OneHot | None = None
    ) -> None:
        """``dw = (scale * dz).T @ x``.

        Args:
            dz: ``[N, M]``.
            scale: ``[N]``.
            x: ``[N, K]``, with adjacent columns.
            dw: ``[M, K]``.
            hot: the last columns of x, if they are zeros and a one; without ``scale``.
        """
        (features, width), count = dw.shape, len(dz)
        to_hot, hot_columns = self._hot(hot, count)
        dense = width - hot_columns
        to_dz, to_x = self._at(dz, count * features), self._matrix(x, count, width)
        to_scale = 0 if scale is None else self._at(scale, count)
        self._calls.wgrad(count, dense, features, to_dz, to_scale, *to_x, self._at(dw), width)
        if hot is not None:
            to_last, row = self._matrix(dw[:, dense:], features, hot_columns)
            self._calls.hot_wgrad(count, hot_columns, features, to_dz, to_hot, to_last, row)

    def bias_gradient(self, dz: Tensor, scale: Tensor | None, db: Tensor) -> None:
        """``db = (scale * dz).sum(0)``, for dz ``[N, M]``, scale ``[N]``, db ``[M]``."""
        count, features = dz.shape
        to_scale = 0 if scale is None else self._at(scale, count)
        self._calls.bias_gradient(count, features, self._at(dz), to_scale, self._at(db, features))

    def pack(self, weight: Tensor, forward: Tensor | None, dgrad: Tensor | None) -> None:
        """Pack ``weight`` for :meth:`forward` and :meth:`dgrad`; sizes: :func:`packed_size`."""
        features, width = weight.shape
        to_forward = 0 if forward is None else self._at(forward, packed_size(features, width))
        to_dgrad = 0 if dgrad is None else self._at(dgrad, packed_size(width, features))
        self._calls.pack(features, width, self._at(weight), to_forward, to_dgrad)

    def _hot(self, hot: OneHot | None, rows: int) -> tuple[int, int]:
        """The address of the indices, and the number of columns."""
        return (0, 0) if hot is None else (self._at(hot.indices, rows, torch.int64), hot.columns)


def packed_size(columns: int, depth: int) -> int:
    """Number of elements of a packed operand, for a product of ``columns`` columns and depth ``depth``."""
    panel = 32
    return -(-columns // panel) * panel * depth
