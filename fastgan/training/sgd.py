"""Gradient descent with momentum, without state on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
                if has_gradient:
                    velocity[part].mul_(self.momentum).sub_(flat.grads[part] * self.learning_rate)
                    flat.values[part].add_(velocity[part])
            if flat.average is not None:
                flat.average.lerp_(flat.values, self.average_weight.to(flat.values.dtype))
            if flat.halves is not None:
                flat.halves.copy_(flat.values)
            flat.drop_gradients()

    def tensors(self) -> dict[str, Tensor]:
        """Velocities by name, for checkpoints."""
        each = [t for flat, v in zip(self.flats, self.velocity, strict=True) for t in flat.views(v)]
        return {f"velocity.{i}": v for i, v in enumerate(each)}
