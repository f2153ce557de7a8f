"""Relativistic pairing: is the real sample of a pair more real than the generated one?"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fastgan.ops import generator_loss_value_and_grad
from fastgan.training.objectives.logits import SHARE, LogitObjective


class Relativistic(LogitObjective):
    """With r = D(x) and f = D(G(z)), D minimizes softplus(-(r - f)) and G softplus(-(f - r)).

    Jolicoeur-Martineau, 2018, equations 6 and 7 with a logistic loss; with R1 and R2 this is the loss of
    R3GAN (Huang et al., 2024). Both are the non-saturating loss of a difference of logits, so its kernel
    serves. As a shift of all logits changes nothing, D(x) by itself means nothing either.

    Statistics: both losses, the mean of D(x, G(z)) = σ(r - f), the share of saturated pairs in D's turn,
    and ``SHARE``.
    """

    statistics: ClassVar[tuple[str, ...]] = ("loss_D", "loss_G", "D(x, G(z))", "saturated", SHARE)
    paired: ClassVar[bool] = True

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, grad, stats = generator_loss_value_and_grad(_lead(real_logits, fake_logits))
        ahead, saturated = stats.unbind()
        grad = grad.to(real_logits.dtype)
        return grad, -grad, {"loss_D": loss, "D(x, G(z))": ahead, "saturated": saturated}

    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert real_logits is not None
        loss, grad, _ = generator_loss_value_and_grad(_lead(fake_logits, real_logits))
        return grad.to(fake_logits.dtype), {"loss_G": loss}

    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """Mean D(x, G(z)), and the share of saturated pairs."""
        _, _, stats = generator_loss_value_and_grad(_lead(real_logits, fake_logits))
        ahead, saturated = stats.tolist()
        return {"D(x, G(z))": ahead, "saturated": saturated}


def _lead(first: Tensor, second: Tensor) -> Tensor:
    """Their difference; of half-precision logits in float32, as two large ones may be close together."""
    wide = torch.promote_types(first.dtype, torch.float32)
    return first.to(wide) - second.to(wide)
