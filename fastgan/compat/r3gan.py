"""R3GAN, its ``AdversarialTraining``: relativistic pairs, with R1 and R2 in every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.freezing import frozen
from fastgan.ops import relativistic_loss

Preprocess = Callable[[Tensor], Tensor]


class AdversarialTraining:
    """``AdversarialTraining``: accumulates the gradients of either player, without a step.

    The networks are called as ``G(Noise, Conditions)`` and ``D(samples, Conditions)``. Samples pass through
    ``Preprocessor`` before D, and losses are multiplied by ``Scale``. D's parameters get no gradients in G's
    turn; the original zeroes them later.
    """

    def __init__(self, Generator: nn.Module, Discriminator: nn.Module) -> None:  # noqa: N803
        self.Generator, self.Discriminator = Generator, Discriminator

    @staticmethod
    def ZeroCenteredGradientPenalty(Samples: Tensor, Critics: Tensor) -> Tensor:  # noqa: N802, N803
        """The squared norm of each sample's gradient, ``[N]``."""
        (grad,) = torch.autograd.grad(Critics.sum(), Samples, create_graph=True)
        return grad.square().flatten(1).sum(1)

    def AccumulateGeneratorGradients(  # noqa: N802
        self,
        Noise: Tensor,  # noqa: N803
        RealSamples: Tensor,  # noqa: N803
        Conditions: Any,  # noqa: N803
        Scale: float = 1,  # noqa: N803
        Preprocessor: Preprocess = lambda x: x,  # noqa: N803
    ) -> list[Tensor]:
        """The terms of G's loss and the differences f - r of logits, without graphs."""
        fake_samples = self.Generator(Noise, Conditions)
        with frozen(self.Discriminator):
            fake = self.Discriminator(Preprocessor(fake_samples), Conditions)
            real = self.Discriminator(Preprocessor(RealSamples.detach()), Conditions)
        terms = relativistic_loss(fake, real, reduction="none")
        assert isinstance(terms, Tensor)
        (Scale * terms.mean()).backward()
        return [terms.detach(), (fake - real).detach()]

    def AccumulateDiscriminatorGradients(  # noqa: N802
        self,
        Noise: Tensor,  # noqa: N803
        RealSamples: Tensor,  # noqa: N803
        Conditions: Any,  # noqa: N803
        Gamma: float,  # noqa: N803
        Scale: float = 1,  # noqa: N803
        Preprocessor: Preprocess = lambda x: x,  # noqa: N803
    ) -> list[Tensor]:
        """The terms of the relativistic loss, the differences r - f, R1 and R2, without graphs."""
        real_samples = RealSamples.detach().requires_grad_()
        with torch.no_grad():
            fake_samples = self.Generator(Noise, Conditions)
        fake_samples = fake_samples.detach().requires_grad_()
        real = self.Discriminator(Preprocessor(real_samples), Conditions)
        fake = self.Discriminator(Preprocessor(fake_samples), Conditions)
        r1 = self.ZeroCenteredGradientPenalty(real_samples, real)
        r2 = self.ZeroCenteredGradientPenalty(fake_samples, fake)
        terms = relativistic_loss(real, fake, reduction="none")
        assert isinstance(terms, Tensor)
        (Scale * (terms + Gamma / 2 * (r1 + r2)).mean()).backward()
        return [terms.detach(), (real - fake).detach(), r1.detach(), r2.detach()]
