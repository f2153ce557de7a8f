"""Calls of activations."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.activations import Activation
from fastgan.kernels.cpu.activations import KINDS
from fastgan.kernels.cpu.tape.base import TapeBase


class ActivationCalls(TapeBase):
    """Activations and their gradients, by rows of a batch."""

    def activate(self, z: Tensor, activation: Activation) -> None:
        """Tanh or sigmoid, in place."""
        self._calls.activate(self._each(z), self._at(z), KINDS[activation.kind])

    def activation_grad(self, dy: Tensor, y: Tensor, dz: Tensor, activation: Activation) -> None:
        """``dz`` from ``dy`` and the output ``y`` of a leaky ReLU, tanh or sigmoid."""
        each = self._like(dy, dz), self._like(y, dz), self._at(dz)
        self._calls.activation_grad(self._each(dz), *each, KINDS[activation.kind], activation.negative_slope)

    def maxout(self, z: Tensor, y: Tensor, pieces: int) -> None:
        """``y [N, M]``, the largest of ``pieces`` pieces of z ``[N, pieces * M]``."""
        count, width = y.shape
        self._calls.maxout(
            self._ratio(count), self._at(z, count * pieces * width), self._at(y), width, pieces
        )

    def maxout_grad(self, dy: Tensor, z: Tensor, y: Tensor, dz: Tensor, pieces: int) -> None:
        """``dz [N, pieces * M]`` from ``dy [N, M]``, shared equally among the largest pieces."""
        count, width = y.shape
        each = self._like(dy, y), self._like(z, dz), self._at(y), self._at(dz, count * pieces * width)
        self._calls.maxout_grad(self._ratio(count), *each, width, pieces)

    def maxout_tangent(self, a: Tensor, z: Tensor, y: Tensor, to: Tensor, pieces: int) -> None:
        """``to [N, M]``, the mean of a ``[N, pieces * M]`` over the largest pieces of z."""
        count, width = y.shape
        each = self._like(a, z), self._at(z, count * pieces * width), self._at(y), self._like(to, y)
        self._calls.maxout_tangent(self._ratio(count), *each, width, pieces)

    def dropout(
        self, y: Tensor, derivative: Tensor, begin: int, seed: int, step: Tensor, share: float, slope: float
    ) -> None:
        """Dropout after a leaky ReLU, in place.

        Args:
            y: ``[N, K]``, outputs of the leaky ReLU, which are kept and scaled, or become zero.
            derivative: like y: receives the derivative of both.
            begin: index of its first uniform number, as for :meth:`fastgan.kernels.cpu.tape.Tape.draw`.
            seed: seed of the run.
            step: int64 ``[1]``: the current step.
            share: share of the outputs that become zero.
            slope: the leaky ReLU's negative slope.
        """
        to_step = self._at(step, 1, torch.int64)
        each = self._each(y), self._at(y), self._like(derivative, y)
        self._calls.dropout(*each, begin, seed, to_step, 1 - share, 1 / (1 - share), slope)

    def multiply(self, x: Tensor, factors: Tensor) -> None:
        """``x *= factors``."""
        self._calls.multiply(self._each(x), self._at(x), self._like(factors, x))
