"""The turns of objectives that depend only on D's logits.

Value-and-gradient operations compute a loss and its gradient with respect to the logits at once, so backward
passes start at the logits, and no loss enters autograd's graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from fastgan.kernels import choose
from fastgan.training.objectives.passes import through

SHARE = "gradient_share"
"""Mean |dl/df| over generated samples, with G's loss l of a sample and its logit f.

If D wins (f → -∞), it tends to 1 for the non-saturating loss and to 0 for the saturating one.
"""


SIGN = "sign(D(x))"
"""Mean sign of D's logits of real samples in its turn: r_t of Karras et al. 2020, arXiv:2006.06676."""


class LogitObjective(ABC):
    """Two losses on logits, and the turns that follow from them.

    Attributes:
        paired: whether G's loss depends on the logits of real samples too.
        with_sign: whether D's turn returns ``SIGN`` too.
    """

    statistics: tuple[str, ...]
    paired: ClassVar[bool] = False
    with_sign = False

    def watch_sign(self) -> None:
        """From now on D's turn returns ``SIGN`` too."""
        self.with_sign = True
        self.statistics = (*self.statistics, SIGN)

    @abstractmethod
    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Derivatives of D's loss with respect to real and generated logits; loss and statistics by name."""

    @abstractmethod
    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Derivative of G's loss with respect to ``fake_logits``; loss and statistics by name.

        ``real_logits`` is None unless ``paired``.
        """

    @abstractmethod
    def lead(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The logits of real samples less that of a sample that D takes for neither."""

    @abstractmethod
    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """Values of the objective for a trained discriminator's logits."""

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        seen = through(discriminator, real, fake, of_parameters=True)
        *grads, statistics = self._of_discriminator(*seen.outputs)
        seen.reach_parameters(grads)
        return statistics

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        real_logits: Tensor | None = None
        if self.paired:
            with torch.no_grad():
                (real_logits,) = through(discriminator, real).outputs
        seen = through(discriminator, fake, of_samples=True)
        grad, statistics = self.generator_loss(real_logits, *seen.outputs)
        return seen.reach_samples(grad).view_as(fake), statistics

    def both_turns(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen = through(discriminator, real, fake, of_parameters=True, of_samples=True)
        *grads, statistics = self._of_discriminator(*seen.outputs)
        grad, of_generator = self.generator_loss(*seen.outputs)
        return seen.reach_both(grads, grad).view_as(fake), statistics | of_generator

    def _of_discriminator(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        grad_real, grad_fake, statistics = self.discriminator_loss(real_logits, fake_logits)
        if self.with_sign:
            statistics[SIGN] = self.lead(real_logits, fake_logits).sign().mean()
        return grad_real, grad_fake, statistics

    @torch.no_grad()
    def evaluate(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
    ) -> dict[str, float]:
        return self.compare(discriminator(real), discriminator(fake))

    def tensors(self) -> dict[str, Tensor]:
        return {}


def gradient_share(grad: Tensor) -> Tensor:
    """``SHARE``, from the gradient of the mean loss."""
    return choose(grad).norm(grad, 1)
