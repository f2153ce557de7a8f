"""Adam with one launch for all parameters of a network and no state on the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan.kernels import choose
from fastgan.training.flat import FlatParameters


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1); the same launch updates the average of the weights.

    Learning rate and step count are scalars on the device: a CUDA graph would freeze numbers of the host.
    A parameter without a gradient and its moments stay as they are, but its average is updated.

    Args:
        flats: parameters to train, on one device.
        learning_rate: float32 scalar tensor on that device; may be changed in place between steps.
        betas: decay of both moments.
        average_weight: float32 scalar tensor: weight of the new parameters in their average, if there is one.
        eps: added to the root of the second moment.
        weight_decay: this times the weights is added to their gradients, as in torch.optim.Adam.
    """

    def __init__(
        self,
        flats: Sequence[FlatParameters],
        learning_rate: Tensor,
        betas: tuple[float, float],
        average_weight: Tensor,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.flats = flats
        self.learning_rate, self.betas, self.eps = learning_rate, betas, eps
        self.weight_decay = weight_decay
        self.average_weight = average_weight
        self.exp_avg = [torch.zeros_like(flat.values) for flat in flats]
        self.exp_avg_sq = [torch.zeros_like(flat.values) for flat in flats]
        self.count = torch.zeros_like(learning_rate)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters and drop their gradients."""
        is_first = True
        for flat, exp_avg, exp_avg_sq in zip(self.flats, self.exp_avg, self.exp_avg_sq, strict=True):
            for part, has_gradient in flat.parts():
                if not has_gradient:
                    flat.move_average(part, self.average_weight)
                    continue
                choose(flat.values).adam(
                    flat.values[part],
                    flat.grads[part],
                    exp_avg[part],
                    exp_avg_sq[part],
                    self.count,
                    is_first,
                    self.learning_rate,
                    self.betas,
                    self.eps,
                    self.weight_decay,
                    None if flat.average is None else flat.average[part],
                    self.average_weight,
                    None if flat.halves is None else flat.halves[part],
                )
                is_first = False
            flat.drop_gradients()

    def buffers(self) -> list[Tensor]:
        """Step count and moments, one buffer for each of ``flats``."""
        return [self.count, *self.exp_avg, *self.exp_avg_sq]

    def tensors(self) -> dict[str, Tensor]:
        """Step count and moments by name, for checkpoints."""
        moments = {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}
        named = {f"{name}.{i}": t for name, flats in moments.items() for i, t in enumerate(self._each(flats))}
        return {"count": self.count, **named}

    def _each(self, moments: Sequence[Tensor]) -> list[Tensor]:
        return [t for flat, moment in zip(self.flats, moments, strict=True) for t in flat.views(moment)]
