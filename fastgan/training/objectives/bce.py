"""The objective of Goodfellow et al., 2014."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from fastgan.ops import (
    discriminator_loss,
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
)
from fastgan.training.objectives.logits import SHARE, LogitObjective, gradient_share
from fastgan.training.objectives.passes import through_head


class BCE(LogitObjective):
    """Binary cross-entropy for D; -log D(G(z)), or log(1 - D(G(z))), for G.

    Statistics: both losses, mean D(x), mean D(G(z)), the share of saturated logits in D's turn,
    and ``SHARE``.

    Args:
        saturating: whether G's loss is the second.
        real_label: label of real samples; below 1 it is one-sided label smoothing (Salimans et al., 2016).
    """

    statistics: ClassVar[tuple[str, ...]] = ("loss_D", "loss_G", "D(x)", "D(G(z))", "saturated", SHARE)
    paired: ClassVar[bool] = False

    def __init__(self, *, saturating: bool = False, real_label: float = 1.0) -> None:
        self.saturating, self.real_label = saturating, real_label

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, grad_real, grad_fake, stats = discriminator_loss_value_and_grad(
            real_logits, fake_logits, real_label=self.real_label
        )
        return grad_real, grad_fake, _named(loss, stats)

    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, grad, _ = generator_loss_value_and_grad(fake_logits, saturating=self.saturating)
        return grad, {"loss_G": loss, SHARE: gradient_share(grad)}

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        seen = through_head(discriminator, real, fake, labels=(self.real_label, 0.0))
        if seen is None:
            return super().discriminator_turn(discriminator, real, fake)
        seen.reach_parameters()
        return _named(seen.loss, seen.stats)

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        label, sign = (0.0, -1.0) if self.saturating else (1.0, 1.0)
        seen = through_head(discriminator, fake, labels=(label,), sign=sign)
        if seen is None:
            return super().generator_turn(discriminator, real, fake)
        # a logit's derivative has one sign for all of them, so the sum of them all is as large as ``SHARE``
        share = seen.bias_grad.squeeze(0)
        return seen.reach_samples().view_as(fake), {"loss_G": seen.loss, SHARE: share}

    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """The value function V(D, G), mean D(x) and D(G(z)), and the share of saturated logits."""
        loss, stats = discriminator_loss(real_logits, fake_logits, return_stats=True)
        d_real, d_fake, saturated = stats.tolist()
        return {"V(D, G)": -float(loss), "D(x)": d_real, "D(G(z))": d_fake, "saturated": saturated}


def _named(loss: Tensor, stats: Tensor) -> dict[str, Tensor]:
    d_real, d_fake, saturated = stats.unbind()
    return {"loss_D": loss, "D(x)": d_real, "D(G(z))": d_fake, "saturated": saturated}
