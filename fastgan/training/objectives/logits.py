"""The turns of objectives that see nothing of D but its logits.

Value-and-gradient operations compute a loss and its gradient with respect to the logits at once, so
autograd starts at the logits and no loss enters its graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from fastgan.ops import MLPForTwo
from fastgan.training.objectives.passes import frozen, logits_of, one_logit_mlp

SHARE = "gradient_share"
"""Mean |dl/df| over generated samples, l the generator's loss of one and f its logit.

That of the non-saturating loss tends to 1 where D wins, f to -∞, and that of the saturating one to 0.
"""
_BATCH = 1_000


class LogitObjective(ABC):
    """Two losses on logits, and the turns that follow from them.

    Attributes:
        paired: whether G's loss depends on the logits of real samples too.
    """

    statistics: ClassVar[tuple[str, ...]]
    paired: ClassVar[bool]

    @abstractmethod
    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """D's loss, by name among its statistics, after its derivatives by the real and generated logits."""

    @abstractmethod
    def generator_loss(
        self, real_logits: Tensor | None, fake_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """G's loss, by name, after its derivative by the generated logits; real ones if ``paired``."""

    @abstractmethod
    def compare(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, float]:
        """What the logits of a trained discriminator say."""

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        real_logits, fake_logits = logits_of(discriminator, real, fake)
        *grads, statistics = self.discriminator_loss(real_logits.detach(), fake_logits.detach())
        torch.autograd.backward([real_logits, fake_logits], grads)
        return statistics

    def generator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        with frozen(discriminator):
            real_logits: Tensor | None = None
            if self.paired:
                with torch.no_grad():
                    real_logits = discriminator(real)
            logits: Tensor = discriminator(fake)
        grad, statistics = self.generator_loss(real_logits, logits.detach())
        torch.autograd.backward(logits, grad)
        return statistics | {SHARE: _share(grad)}

    def both_turns(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        shown = fake.detach()
        mlp = one_logit_mlp(discriminator)
        chain = (
            None
            if mlp is None
            else MLPForTwo.of(torch.cat([real, shown]).flatten(1), mlp.layers, mlp.negative_slope)
        )
        if chain is None:
            real_logits, fake_logits = logits_of(discriminator, real, shown.requires_grad_())
        else:
            real_logits, fake_logits = chain.logits.split([len(real), len(fake)])
        logits = real_logits.detach(), fake_logits.detach()
        *grads, statistics = self.discriminator_loss(*logits)
        grad, of_generator = self.generator_loss(*logits)
        if chain is None:
            parameters = [p for p in discriminator.parameters() if p.requires_grad]
            (reaching_fake,) = torch.autograd.grad(fake_logits, shown, grad, retain_graph=True)
            torch.autograd.backward([real_logits, fake_logits], grads, inputs=parameters)
        else:
            reaching_fake = chain.backward(torch.cat(grads), grad).view_as(fake)
        torch.autograd.backward(fake, reaching_fake)
        return statistics | of_generator | {SHARE: _share(grad)}

    @torch.no_grad()
    def evaluate(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, float]:
        real_logits, fake_logits = (
            torch.cat([discriminator(part) for part in samples.split(_BATCH)]) for samples in (real, fake)
        )
        return self.compare(real_logits, fake_logits)

    def tensors(self) -> dict[str, Tensor]:
        return {}


def _share(grad: Tensor) -> Tensor:
    """``SHARE``, from the gradient of the mean of the losses."""
    share: Tensor = torch.linalg.vector_norm(grad, 1)
    return share
