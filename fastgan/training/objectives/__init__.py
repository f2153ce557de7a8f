"""The objectives: losses of G and D, and their gradients in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from fastgan.kernels.logit_losses import LOSSES
from fastgan.training.config import TrainConfig
from fastgan.training.distributed import World
from fastgan.training.objectives.began import BEGAN
from fastgan.training.objectives.logits import LogitObjective
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.relativistic import Relativistic, RelativisticAverage


class Objective(Protocol):
    """The turns of D and G: each computes a loss and its gradients.

    D's turn adds to the gradients of D's parameters. G's turn does not; it returns the gradient with respect
    to the generated samples, and the caller propagates it through G. Samples are passed as D sees them,
    ``[N, ...]`` each; turns ignore their graphs. Turns return scalars by name, on the device.

    Attributes:
        statistics: names of all scalars that the turns of a step return, as they are logged.
    """

    @property
    def statistics(self) -> tuple[str, ...]: ...

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Add the gradients of D's loss to its parameters."""

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of G's loss with respect to ``fake``; ``real`` is from D's last turn."""

    def both_turns(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both turns with the same weights and samples."""

    def evaluate(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
    ) -> dict[str, float]:
        """Values of the objective for trained networks, by name."""

    def tensors(self) -> dict[str, Tensor]:
        """The objective's state by name, for checkpoints."""


def _of_loss(config: TrainConfig, device: torch.device, world: World) -> Objective:
    saturating = config.generator_loss == "saturating"
    return LossObjective(config.objective, real_label=config.real_label, saturating=saturating)


OBJECTIVES: dict[str, Callable[[TrainConfig, torch.device, World], Objective]] = {
    **dict.fromkeys(LOSSES, _of_loss),
    "relativistic": lambda config, device, world: Relativistic(),
    "relativistic-average": lambda config, device, world: RelativisticAverage(),
    "began": lambda config, device, world: BEGAN(
        diversity_ratio=config.diversity_ratio,
        balance_rate=config.balance_rate,
        device=device,
        world=world,
    ),
}


def objective_of(config: TrainConfig, device: torch.device, world: World) -> Objective:
    """The objective that the config names."""
    objective = OBJECTIVES[config.objective](config, device, world)
    if config.augment:
        assert isinstance(objective, LogitObjective)
        objective.watch_sign()
    return objective
