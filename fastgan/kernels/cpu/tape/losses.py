"""Calls of losses."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.kernels.cpu.tape.base import TapeBase
from fastgan.kernels.logit_losses import NUMBERS, LossSpec, cached_weights_of


class LossCalls(TapeBase):
    """Losses and other numbers of a whole batch: for units of one row."""

    def loss(
        self,
        logits: Sequence[Tensor],
        spec: LossSpec,
        grads: Sequence[Tensor],
        total: Tensor,
        details: Tensor | None,
    ) -> None:
        """As :meth:`fastgan.kernels.reference.Reference.loss_and_grad`, into given memory.

        Args:
            logits: tensors of any number of elements.
            spec: the loss, with a label and a weight for each of them.
            grads: gradients, like the logits; empty if they are not needed.
            total: the loss, one element.
            details: ``[2 * count + 1]`` for ``count`` tensors, or None.
        """
        sizes = [t.numel() for t in logits]
        self._calls.loss(
            NUMBERS[spec.loss],
            [self._at(t) for t in logits],
            sizes,
            spec.labels,
            cached_weights_of(spec, tuple(sizes)),
            [self._at(grad, size) for grad, size in zip(grads, sizes, strict=bool(grads))],
            self._at(total, 1),
            0 if details is None else self._at(details, 2 * len(sizes) + 1),
        )

    def subtract(self, a: Tensor, b: Tensor, divisor: float, to: Tensor) -> None:
        """``to = a - b / divisor``; b is like a, or one element."""
        each = self._like(a, to), self._at(b), b.numel() == 1, divisor
        self._calls.subtract(to.numel(), *each, self._at(to))

    def norm(self, x: Tensor, order: int, to: Tensor) -> None:
        """The sum of absolutes (order 1) or the root of the sum of squares (order 2), as one element."""
        self._calls.norm(self._at(x), x.numel(), order, self._at(to, 1))
