"""What the two players minimize, and the gradients of it that a step wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from fastgan.kernels.logit_losses import LOSSES
from fastgan.training.config import TrainConfig
from fastgan.training.distributed import World
from fastgan.training.objectives.began import BEGAN
from fastgan.training.objectives.losses import LossObjective
from fastgan.training.objectives.relativistic import Relativistic, RelativisticAverage


class Objective(Protocol):
    """Both players' turns.

    D's turn adds its gradients to D's parameters. G's leaves D's alone and goes no further back than the
    generated samples: whoever has their graph sends the gradient on. Real and generated samples come as D
    sees them, ``[N, ...]`` each, and none has a graph that a turn makes use of. Turns return scalars by name,
    on the device.

    Attributes:
        statistics: names of all that the turns of a step return, as they are logged.
    """

    @property
    def statistics(self) -> tuple[str, ...]: ...

    def discriminator_turn(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Gradients of D's loss, for its parameters."""

    def generator_turn(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of G's loss by ``fake``; the real samples are those of D's last turn."""

    def both_turns(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both players' turns at the same weights and of the same samples."""

    def evaluate(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, float]:
        """What the objective says of a trained pair, by name."""

    def tensors(self) -> dict[str, Tensor]:
        """What its turns change from step to step, by name: a part of each checkpoint."""


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
