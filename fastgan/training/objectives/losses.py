"""The objectives of the losses on logits: one class for all rows of ``LOSSES``."""

from __future__ import annotations

from torch import Tensor, nn

from fastgan.kernels.logit_losses import LOSSES, LossSpec
from fastgan.ops import (
    discriminator_loss,
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
)
from fastgan.training.objectives.logits import SHARE, LogitObjective, gradient_share
from fastgan.training.objectives.passes import through_head


class LossObjective(LogitObjective):
    """The losses of :func:`fastgan.discriminator_loss` and :func:`fastgan.generator_loss` with that name.

    Statistics: both losses; D's mean output for real and for generated samples (``D(x)`` and ``D(G(z))`` if
    it is a probability, else ``logit(x)`` and ``logit(G(z))``); the share of saturated logits in D's turn;
    and, if D's output is a probability, ``SHARE``.

    Args:
        loss: a name of :data:`fastgan.kernels.logit_losses.LOSSES`.
        real_label: label of real samples, for losses with ``labels``; values below 1 are one-sided label
            smoothing (Salimans et al., 2016).
        saturating: whether the generator minimizes log(1 - D(G(z))), for losses with ``saturating``.

    Attributes:
        discriminator_spec: D's loss of real and of generated logits.
        generator_spec: G's loss of generated logits.
    """

    def __init__(self, loss: str = "bce", *, real_label: float = 1.0, saturating: bool = False) -> None:
        self.loss, self.real_label, self.saturating = loss, real_label, saturating
        self._row = LOSSES[loss]
        self.discriminator_spec = LossSpec.of(loss, (real_label, 0.0), (1.0, 1.0), mean=True)
        name, label, sign = (loss, 0.0, -1.0) if saturating else (self._row.generator, 1.0, 1.0)
        self.generator_spec = LossSpec.of(name, (label,), (sign,), mean=True)
        outputs = ("D(x)", "D(G(z))") if self._row.probability else ("logit(x)", "logit(G(z))")
        self._stats = (*outputs, "saturated")
        self.statistics = ("loss_D", "loss_G", *self._stats, *[SHARE] * self._row.probability)

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, grad_real, grad_fake, stats = discriminator_loss_value_and_grad(
            real_logits, fake_logits, loss=self.loss, real_label=self.real_label
        )
        return grad_real, grad_fake, self.of_discriminator(loss, stats)

    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, grad, _ = generator_loss_value_and_grad(fake_logits, loss=self.loss, saturating=self.saturating)
        share = {SHARE: gradient_share(grad)} if self._row.probability else {}
        return grad, {"loss_G": loss} | share

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        # the fused head computes no logits
        spec = self.discriminator_spec
        seen = None if self.with_sign else through_head(discriminator, real, fake, spec=spec)
        if seen is None:
            return super().discriminator_turn(discriminator, real, fake)
        seen.reach_parameters()
        return self.of_discriminator(seen.loss, seen.stats)

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen = through_head(discriminator, fake, spec=self.generator_spec)
        if seen is None:
            return super().generator_turn(discriminator, real, fake)
        # all derivatives have the same sign, so their sum is ``SHARE`` or its negative
        share = {SHARE: seen.bias_grad.squeeze(0)} if self._row.probability else {}
        return seen.reach_samples().view_as(fake), {"loss_G": seen.loss} | share

    def lead(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits - self._row.undecided

    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """D's loss, or the value function V(D, G) if there is one; then D's statistics."""
        # the value function has no smoothed labels
        label = 1.0 if self._row.saturating else self.real_label
        loss, stats = discriminator_loss(
            real_logits, fake_logits, loss=self.loss, real_label=label, return_stats=True
        )
        value = {"V(D, G)": -float(loss)} if self._row.saturating else {"loss_D": float(loss)}
        return value | dict(zip(self._stats, stats.tolist(), strict=True))

    def of_discriminator(self, loss: Tensor, stats: Tensor) -> dict[str, Tensor]:
        """Statistics of D's turn by name; ``stats`` as for :func:`fastgan.discriminator_loss`."""
        return {"loss_D": loss} | dict(zip(self._stats, stats.unbind(), strict=True))
