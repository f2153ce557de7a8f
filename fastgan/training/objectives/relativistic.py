"""Relativistic objectives: D estimates whether a real sample is more realistic than a generated one."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fastgan.ops import relativistic_loss_value_and_grad
from fastgan.training.objectives.logits import SHARE, SIGN, LogitObjective, gradient_share


class Relativistic(LogitObjective):
    """With r = D(x) and f = D(G(z)), D minimizes softplus(-(r - f)) and G softplus(-(f - r)).

    Jolicoeur-Martineau, 2018, equations 6 and 7 with a logistic loss; with R1 and R2 this is the loss of
    R3GAN (Huang et al., 2024). It depends only on differences of logits, so D(x) alone has no meaning.

    Statistics: both losses, the mean of D(x, G(z)) = σ(r - f), the share of saturated pairs in D's turn,
    and ``SHARE``.
    """

    statistics: tuple[str, ...] = ("loss_D", "loss_G", "D(x, G(z))", "saturated", SHARE)
    paired: ClassVar[bool] = True
    _average: ClassVar[bool] = False

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, grad_real, grad_fake, stats = relativistic_loss_value_and_grad(
            real_logits, fake_logits, average=self._average
        )
        return grad_real, grad_fake, self.of_discriminator(loss, stats)

    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert real_logits is not None
        loss, grad, *_ = relativistic_loss_value_and_grad(fake_logits, real_logits, average=self._average)
        share = gradient_share(grad)
        return grad, {"loss_G": loss, SHARE: share / 2 if self._average else share}

    def lead(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits - (fake_logits.mean() if self._average else fake_logits)

    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """D's mean outputs, and the share of saturated differences."""
        *_, stats = relativistic_loss_value_and_grad(real_logits, fake_logits, average=self._average)
        return dict(zip(self._of_d()[1:], stats.tolist(), strict=True))

    def of_discriminator(self, loss: Tensor, stats: Tensor) -> dict[str, Tensor]:
        """Statistics of D's turn by name; ``stats`` as for :func:`fastgan.relativistic_loss`."""
        return dict(zip(self._of_d(), (loss, *stats.unbind()), strict=True))

    def _of_d(self) -> list[str]:
        return [name for name in self.statistics if name not in ("loss_G", SHARE, SIGN)]


class RelativisticAverage(Relativistic):
    """Compares with the mean of the other batch: :func:`fastgan.relativistic_loss` with ``average``.

    A process takes the means over its part of the batch.

    Statistics: both losses, the means of D~(x) = σ(r - mean f) and D~(G(z)) = σ(f - mean r), the share of
    saturated differences in D's turn, and ``SHARE`` of the mean of the two terms.
    """

    statistics: tuple[str, ...] = ("loss_D", "loss_G", "D~(x)", "D~(G(z))", "saturated", SHARE)
    _average: ClassVar[bool] = True
