"""The moving average of a generator's weights, for training loops of one's own."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


class MovingAverage(nn.Module):
    r"""A copy of a generator whose weights are the exponential moving average of those during training.

    After n samples, an average a of weights w becomes :math:`w + 2^{-n / \text{half-life}} (a - w)`, so that
    it depends on the samples seen, not on the batch size (as in the code of Karras et al. 2020,
    arXiv:1912.04958). Buffers are copied. The average is in evaluation mode and needs no gradients.

    Args:
        generator: the network to average.
        half_life: number of samples after which the weight of an old value has halved.

    Attributes:
        average: the averaged network.

    Raises:
        ValueError: ``half_life`` is not positive and finite.

    >>> generator = nn.Linear(2, 2)
    >>> averaged = MovingAverage(generator)
    >>> averaged.update(generator, samples=64)  # after each step
    >>> averaged(torch.randn(8, 2)).shape
    torch.Size([8, 2])
    """

    def __init__(self, generator: nn.Module, half_life: float = 10_000.0) -> None:
        super().__init__()
        if not 0 < half_life < math.inf:
            raise ValueError(f"half_life must be positive and finite, but is {half_life}")
        self.half_life = half_life
        self.average = copy.deepcopy(generator).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Keep the evaluation mode, also as a part of a module that is trained."""
        return super().train(False)

    @torch.no_grad()
    def update(self, generator: nn.Module, samples: int) -> None:
        """Add the weights after a step on this number of samples.

        Raises:
            ValueError: ``samples`` is negative or not finite, or this is not the network that is averaged.
        """
        if not 0 <= samples < math.inf:
            raise ValueError(f"samples must be finite and not negative, but is {samples}")
        shapes, others = ([p.shape for p in each.parameters()] for each in (self.average, generator))
        if shapes != others:
            raise ValueError("generator has other parameters than the network that is averaged")
        weight = 1 - 0.5 ** (samples / self.half_life)
        torch._foreach_lerp_(list(self.average.parameters()), list(generator.parameters()), weight)
        for kept, current in zip(self.average.buffers(), generator.buffers(), strict=True):
            kept.copy_(current)

    def forward(self, *arguments: Any) -> Any:
        """Call the averaged network."""
        return self.average(*arguments)

    def extra_repr(self) -> str:
        return f"half_life={self.half_life:g}"
