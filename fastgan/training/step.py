"""One training step. It never waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.training.objective import discriminator_turn, generator_turn
from fastgan.training.state import TrainingState
from fastgan.training.statistics import Statistics


def train_step(state: TrainingState, data: Tensor, statistics: Statistics) -> None:
    """Give D its turns and G one, move the average and record the statistics.

    Args:
        state: what is trained; updated in place.
        data: ``[N, ...]`` real samples, on the state's device.
        statistics: gets one row, of the last of D's turns and of G's.
    """
    state.set_schedule()
    for _ in range(state.config.discriminator_steps):
        discriminator_loss, stats = _update_discriminator(state, data)
    generator_loss = _update_generator(state)
    state.update_average()
    state.step += 1
    statistics.record([discriminator_loss, generator_loss, *stats.unbind()])


def _update_discriminator(state: TrainingState, data: Tensor) -> tuple[Tensor, Tensor]:
    real = _draw_batch(state, data)
    with torch.no_grad():
        fake = state.generator(state.latent(state.config.batch_size))
    state.discriminator_optimizer.zero_grad()
    result = discriminator_turn(state.discriminator, state.blur(real), state.blur(fake))
    state.discriminator_optimizer.step()
    return result


def _update_generator(state: TrainingState) -> Tensor:
    fake = state.generator(state.latent(state.config.batch_size))
    state.generator_optimizer.zero_grad()
    loss = generator_turn(
        state.discriminator, state.blur(fake), saturating=state.config.generator_loss == "saturating"
    )
    state.generator_optimizer.step()
    return loss


def _draw_batch(state: TrainingState, data: Tensor) -> Tensor:
    """Draw samples with replacement."""
    rows = torch.randint(len(data), (state.config.batch_size,), generator=state.rng, device=state.device)
    return data[rows]
