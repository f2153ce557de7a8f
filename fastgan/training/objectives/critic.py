"""Objectives whose D says no probability but a number."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fastgan.ops import discriminator_loss, discriminator_loss_value_and_grad, generator_loss_value_and_grad
from fastgan.training.objectives.logits import LogitObjective


class Critic(LogitObjective):
    """The losses of this name of :func:`fastgan.discriminator_loss` and :func:`fastgan.generator_loss`.

    Statistics: both losses, the mean logits of real and of generated samples, and the share of saturated
    logits in D's turn: with the hinge loss those beyond the margin.

    Args:
        loss: "hinge", "least-squares" or "wasserstein".
        real_label: what D's logits of real samples shall be, of "least-squares" alone.
    """

    statistics: ClassVar[tuple[str, ...]] = ("loss_D", "loss_G", "logit(x)", "logit(G(z))", "saturated")
    paired: ClassVar[bool] = False

    def __init__(self, loss: str, *, real_label: float = 1.0) -> None:
        self.loss, self.real_label = loss, real_label

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, grad_real, grad_fake, stats = discriminator_loss_value_and_grad(
            real_logits, fake_logits, loss=self.loss, real_label=self.real_label
        )
        of_real, of_fake, saturated = stats.unbind()
        return (
            grad_real,
            grad_fake,
            {"loss_D": loss, "logit(x)": of_real, "logit(G(z))": of_fake, "saturated": saturated},
        )

    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, grad, _ = generator_loss_value_and_grad(fake_logits, loss=self.loss)
        return grad, {"loss_G": loss}

    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """D's loss, the mean logits, and the share of saturated ones."""
        loss, stats = discriminator_loss(
            real_logits, fake_logits, loss=self.loss, real_label=self.real_label, return_stats=True
        )
        of_real, of_fake, saturated = stats.tolist()
        return {
            "loss_D": float(loss),
            "logit(x)": of_real,
            "logit(G(z))": of_fake,
            "saturated": saturated,
        }
