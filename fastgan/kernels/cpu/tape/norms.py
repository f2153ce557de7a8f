"""Calls of batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.kernels.cpu.tape.base import TapeBase

BatchStatistics = tuple[Tensor, Tensor]
"""Mean and variance of each column of a batch."""


class NormCalls(TapeBase):
    """Batch norm and ReLU."""

    def normalize(self, x: Tensor, norm: nn.BatchNorm1d, y: Tensor) -> None:
        """Batch norm with the running statistics and ReLU, of the unit's rows.

        Args:
            x: ``[N, K]``.
            norm: weight, bias and running statistics, ``[K]`` each.
            y: ``[N, K]``, with adjacent columns.
        """
        count, channels = x.shape
        self._one_each(count)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        numbers = norm.running_mean, norm.running_var, norm.weight, norm.bias
        mean, var, weight, bias = (self._at(each, channels) for each in numbers)
        to_y = self._matrix(y, count, channels)
        self._calls.normalize(channels, norm.eps, self._at(x), mean, var, weight, bias, *to_y)

    def batch_norm(
        self, x: Tensor, batch: BatchStatistics, norm: nn.BatchNorm1d, momentum: float, y: Tensor
    ) -> None:
        """Batch norm and ReLU of x ``[N, K]``, with its statistics, which also move the running ones.

        Args:
            x: the input.
            batch: receive the statistics.
            norm: weight, bias and running statistics, ``[K]`` each.
            momentum: weight of the new statistics in the running ones.
            y: ``[N, K]``, with adjacent columns.
        """
        count, channels = x.shape
        self._one_each(channels)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        numbers = *batch, norm.weight, norm.bias, norm.running_mean, norm.running_var
        mean, var, weight, bias, running_mean, running_var = (self._at(each, channels) for each in numbers)
        own = count, channels, norm.eps, momentum, self._at(x), mean, var, weight, bias
        self._calls.batch_norm(*own, running_mean, running_var, *self._matrix(y, count, channels))

    def batch_norm_backward(
        self,
        dy: Tensor,
        x: Tensor,
        batch: BatchStatistics,
        norm: nn.BatchNorm1d,
        dx: Tensor,
        grads: tuple[Tensor, Tensor],
    ) -> None:
        """From dy ``[N, K]``, with adjacent columns, the gradients dx and those of weight and bias."""
        count, channels = x.shape
        self._one_each(channels)
        numbers = *batch, norm.weight, norm.bias, *grads
        mean, var, weight, bias, dweight, dbias = (self._at(each, channels) for each in numbers)
        own = count, channels, norm.eps, self._at(x), mean, var, weight, bias
        gradients = *self._matrix(dy, count, channels), self._like(dx, x)
        self._calls.batch_norm_backward(*own, *gradients, dweight, dbias)

    def count_integer(self, count: Tensor, more: int) -> None:
        """``count += more``, one int64 element."""
        self._calls.count_integer(self._at(count, 1, torch.int64), more)
