"""Adam in one launch for all parameters, with nothing of it on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1) by the kernel behind ``torch.optim.Adam(fused=True)``.

    The optimizer around that kernel takes longer on the host than a small network's update, and its
    learning rate would be a number frozen into a CUDA graph. Here learning rate and step count are
    scalars on the device, and gradients are dropped as soon as they have served.

    Args:
        parameters: what to train, float, on one device.
        learning_rate: scalar tensor on that device; may be changed between steps, in place.
        betas: decay of both moments.
        eps: added to the root of the second.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: Tensor,
        betas: tuple[float, float],
        eps: float = 1e-8,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.learning_rate, self.betas, self.eps = learning_rate, betas, eps
        self.exp_avg = [torch.zeros_like(p) for p in self.parameters]
        self.exp_avg_sq = [torch.zeros_like(p) for p in self.parameters]
        self.count = torch.zeros((), device=learning_rate.device)

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters along their gradients, and drop those."""
        self.count += 1
        for dtype in {p.dtype for p in self.parameters}:  # the kernel takes one at a time
            self._step([i for i, p in enumerate(self.parameters) if p.dtype == dtype and p.grad is not None])
        for p in self.parameters:
            p.grad = None

    def _step(self, served: list[int]) -> None:
        torch._fused_adam_(
            [self.parameters[i] for i in served],
            [g for i in served if (g := self.parameters[i].grad) is not None],
            [self.exp_avg[i] for i in served],
            [self.exp_avg_sq[i] for i in served],
            [],
            [self.count] * len(served),
            lr=self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Step count and moments, by name: what a checkpoint holds."""
        moments = {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}
        return {
            "count": self.count,
            **{f"{name}.{i}": t for name, tensors in moments.items() for i, t in enumerate(tensors)},
        }
