"""Gradient descent with momentum, with nothing of it on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SGD:
    """Classical momentum: v ← μv - εg, then w ← w + v (Sutskever et al., 2013, equations 1 and 2).

    Args:
        parameters: what to train, float, on one device.
        learning_rate: ε, a scalar tensor on that device; may be changed between steps, in place.
        momentum: μ, likewise.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], learning_rate: Tensor, momentum: Tensor) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.learning_rate, self.momentum = learning_rate, momentum
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters along their velocities, and drop their gradients."""
        served = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        if served:
            velocity = [self.velocity[i] for i in served]
            grads = [g for i in served if (g := self.parameters[i].grad) is not None]
            torch._foreach_mul_(velocity, self.momentum)
            torch._foreach_sub_(velocity, torch._foreach_mul(grads, self.learning_rate))
            torch._foreach_add_([self.parameters[i] for i in served], velocity)
        for p in self.parameters:
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Velocities, by name: what a checkpoint holds."""
        return {f"velocity.{i}": v for i, v in enumerate(self.velocity)}
