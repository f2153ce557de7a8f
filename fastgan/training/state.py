"""Everything that the next training step depends on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fastgan.training.config import TrainConfig


class DivergenceError(RuntimeError):
    """A loss or a weight is nan or infinite; the message names the step."""


class TrainingState:
    """Two networks, their optimizers, the generator's average, the random stream, the step.

    Args:
        generator: from ``[N, latent_dim]`` to samples; moved to the device.
        discriminator: from samples to logits; moved to the device.
        config: settings of the run.

    Attributes:
        average: the generator with the exponential moving average of its weights.
        rng: draws batches and latent vectors, on the device.
        step: how many steps are done.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, config: TrainConfig) -> None:
        self.config = config
        self.device = torch.device(config.device)
        self.generator = generator.to(self.device)
        self.discriminator = discriminator.to(self.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = self._adam(self.generator)
        self.discriminator_optimizer = self._adam(self.discriminator)
        self.rng = torch.Generator(self.device).manual_seed(config.seed)
        self.step = 0
        # device scalars, as a captured step would freeze numbers of the host
        self._average_weight = torch.zeros((), device=self.device)
        self._noise = torch.zeros((), device=self.device)

    def latent(self, count: int) -> Tensor:
        """Draw ``[count, latent_dim]`` from the standard normal."""
        return torch.randn(count, self.config.latent_dim, generator=self.rng, device=self.device)

    def blur(self, samples: Tensor) -> Tensor:
        """Samples as D sees them: with the instance noise of this step."""
        if self.config.instance_noise == 0:
            return samples
        noise = torch.randn(samples.shape, generator=self.rng, device=self.device, dtype=samples.dtype)
        return samples + self._noise * noise

    def set_schedule(self) -> None:
        """Write the learning rate, the noise and the average's weight of the coming step."""
        learning_rate = self.config.learning_rate_at(self.step)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"].fill_(learning_rate)
        self._noise.fill_(self.config.noise_at(self.step))
        # early on the average is over the steps there have been, not over the initial weights
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        self._average_weight.fill_(1 - decay)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the generator; buffers are copied."""
        for mean, live in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(live, self._average_weight.to(mean.dtype))
        for kept, current in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(current)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            module.parameters(),
            lr=torch.tensor(self.config.learning_rate, device=self.device),
            betas=self.config.betas,
            fused=True,
            capturable=self.device.type == "cuda",
        )
