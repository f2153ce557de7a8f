"""Gradient descent with momentum, without state on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.training.flat import FlatParameters


class SGD:
    """Classical momentum: v ← μv - εg, then w ← w + v (Sutskever et al., 2013, equations 1 and 2).

    Args:
        flats: parameters to train, on one device.
        learning_rate: ε, a scalar tensor on that device; may be changed in place between steps.
        momentum: μ, a scalar tensor as well.
        average_weight: as for :class:`fastgan.training.adam.Adam`.
    """

    def __init__(
        self,
        flats: Sequence[FlatParameters],
        learning_rate: Tensor,
        momentum: Tensor,
        average_weight: Tensor,
    ) -> None:
        self.flats = flats
        self.learning_rate, self.momentum, self.average_weight = learning_rate, momentum, average_weight
        self.velocity = [torch.zeros_like(flat.values) for flat in flats]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters and drop their gradients."""
        for flat, velocity in zip(self.flats, self.velocity, strict=True):
            for part, has_gradient in flat.parts():
                if not has_gradient:
                    flat.move_average(part, self.average_weight)
                    continue
                choose(flat.values).sgd(
                    flat.values[part],
                    flat.grads[part],
                    velocity[part],
                    self.learning_rate,
                    self.momentum,
                    None if flat.average is None else flat.average[part],
                    self.average_weight,
                    None if flat.halves is None else flat.halves[part],
                )
            flat.drop_gradients()

    def buffers(self) -> list[Tensor]:
        """Velocities, one buffer for each of ``flats``."""
        return list(self.velocity)

    def tensors(self) -> dict[str, Tensor]:
        """Velocities by name, for checkpoints."""
        each = [t for flat, v in zip(self.flats, self.velocity, strict=True) for t in flat.views(v)]
        return {f"velocity.{i}": v for i, v in enumerate(each)}
