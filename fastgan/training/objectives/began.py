"""Boundary equilibrium GAN: D is an autoencoder, and k balances D and G."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from fastgan.ops import reconstruction_loss, reconstruction_loss_value_and_grad
from fastgan.training.distributed import World
from fastgan.training.objectives.passes import through

_BATCH = 1_000


class BEGAN:
    """With L(v) = mean |v - D(v)|, D minimizes L(x) - k L(G(z)) and G minimizes L(G(z)).

    k starts at 0. Each of D's turns adds λ (γ L(x) - L(G(z))) to it, within [0, 1], which drives
    L(G(z)) / L(x) towards γ. M = L(x) + |γ L(x) - L(G(z))| measures convergence (Berthelot et al., 2017,
    sections 3.3 and 3.4).

    Statistics: both losses; k after D's turn; M and L(x) in D's turn.

    Args:
        diversity_ratio: γ.
        balance_rate: λ.
        device: device of k.
        world: processes of the run; k is computed from their mean losses.
    """

    statistics: ClassVar[tuple[str, ...]] = ("loss_D", "loss_G", "k", "M", "L(x)")

    def __init__(
        self, *, diversity_ratio: float, balance_rate: float, device: torch.device, world: World
    ) -> None:
        self.diversity_ratio, self.balance_rate = diversity_ratio, balance_rate
        self.world = world
        self.k = torch.zeros((), device=device, dtype=torch.float32)

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        seen = through(discriminator, real, fake, of_parameters=True)
        of_real, of_fake = seen.outputs
        real_loss, grad_real = _l1(real, of_real)
        fake_loss, grad_fake = _l1(fake, of_fake, -self.k)
        seen.reach_parameters([grad_real, grad_fake])
        return self._balance(real_loss, fake_loss)

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen = through(discriminator, fake, of_samples=True)
        loss, grad_fake, grad = _l1_of_both(fake.detach(), seen.outputs[0])
        # the loss depends on a sample twice: as the target of the reconstruction, and through D
        return grad_fake + seen.reach_samples(grad), {"loss_G": loss}

    def both_turns(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen = through(discriminator, real, fake, of_parameters=True, of_samples=True)
        of_real, of_fake = seen.outputs
        real_loss, grad_real = _l1(real, of_real)
        fake_loss, grad_fake, grad = _l1_of_both(fake.detach(), of_fake)
        reaching_fake = seen.reach_both([grad_real, -self.k.to(grad.dtype) * grad], grad)
        return grad_fake + reaching_fake, self._balance(real_loss, fake_loss) | {"loss_G": fake_loss}

    @torch.no_grad()
    def evaluate(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
    ) -> dict[str, float]:
        """L(x), L(G(z)) and M."""
        real_loss, fake_loss = (
            sum(len(part) * float(reconstruction_loss(part, discriminator(part))) for part in v.split(_BATCH))
            / len(v)
            for v in (real, fake)
        )
        lead = self.diversity_ratio * real_loss - fake_loss
        return {"L(x)": real_loss, "L(G(z))": fake_loss, "M": real_loss + abs(lead)}

    def tensors(self) -> dict[str, Tensor]:
        return {"k": self.k}

    def _balance(self, real_loss: Tensor, fake_loss: Tensor) -> dict[str, Tensor]:
        """Update k; return the statistics of D's turn."""
        loss = real_loss - self.k * fake_loss
        # all processes share k, so it depends on the losses of the whole batch
        real_loss, fake_loss = self.world.mean(torch.stack([real_loss, fake_loss])).unbind()
        lead = self.diversity_ratio * real_loss - fake_loss
        self.k.add_(lead, alpha=self.balance_rate).clamp_(0, 1)
        return {"loss_D": loss, "k": self.k.clone(), "M": real_loss + lead.abs(), "L(x)": real_loss}


def _l1(samples: Tensor, outputs: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Loss, and ``scale`` times its gradient with respect to D's outputs, in their (perhaps half) dtype."""
    loss, _, grad = reconstruction_loss_value_and_grad(
        samples, outputs.to(samples.dtype), scale=scale, with_input_grad=False
    )
    return loss, grad.to(outputs.dtype)


def _l1_of_both(samples: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, and its gradients with respect to the samples and to D's outputs."""
    loss, grad_samples, grad = reconstruction_loss_value_and_grad(samples, outputs.to(samples.dtype))
    assert grad_samples is not None
    return loss, grad_samples, grad.to(outputs.dtype)
